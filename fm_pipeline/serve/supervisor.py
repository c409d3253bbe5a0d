"""Starts the parts, starts again what dies, and stops them in the reverse order."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

import psutil

from fm_pipeline.console.service.part_states import PartState
from fm_pipeline.defs.run_process import is_run_process
from fm_pipeline.pluralize import counted
from fm_pipeline.serve.listening import accepts
from fm_pipeline.serve.notify import notify_systemd
from fm_pipeline.serve.parts import ServicePart

LOOK_SECONDS = 0.5
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a part that dies again and again is started again
STEADY_SECONDS = 120.0  # a part that ran so long is started again after the first pause
AFTER_SECONDS = 60.0  # so long a part waits for the socket that it needs; then it starts, and says what is missing

_log = logging.getLogger(__name__)


class Supervisor:
    """Runs until SIGTERM or Ctrl-C; SIGHUP starts all parts anew.

    Args:
        parts: in the order in which they start.
        environment: of all of them.
        address: of the console, for the log.
        locks: file descriptors that every part inherits.
        is_ready: whether the service does its work.
        publish: takes the state of the parts whenever it has changed.
    """

    def __init__(
        self,
        parts: Sequence[ServicePart],
        environment: Mapping[str, str],
        *,
        address: str,
        locks: Sequence[int],
        is_ready: Callable[[], bool],
        publish: Callable[[Sequence[PartState]], None],
    ) -> None:
        self._environment = dict(environment)
        self._parts = [_Supervised(part, self._environment, tuple(locks)) for part in parts]
        self._address = address
        self._is_ready = is_ready
        self._publish = publish
        self._published: Sequence[PartState] = ()
        self._unwritten: Sequence[PartState] = ()
        self._ready = False
        self._stop = threading.Event()
        self._reload = threading.Event()

    def run(self) -> None:
        """Start everything, watch it, stop it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        # A terminal that is closed sends SIGHUP too.
        signal.signal(signal.SIGHUP, self._asked_to_stop if sys.stdin.isatty() else self._asked_to_reload)
        try:
            while True:
                self._look()
                if self._stop.wait(LOOK_SECONDS):
                    return
                if self._reload.is_set():
                    self._reload.clear()
                    _log.info("All parts start anew, and read the settings.")
                    self._end("RELOADING=1")
        finally:
            self._end("STOPPING=1")

    def _asked_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def _asked_to_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload.set()

    def _look(self) -> None:
        for part in self._parts:
            part.look()
        states = [part.state for part in self._parts]
        if states != self._published:
            self._tell(states)
        if not self._ready and all(state.pid for state in states) and self._is_ready():
            self._ready = True
            notify_systemd("READY=1")
            _log.info("All parts are ready: %s", self._address)

    def _end(self, state: str) -> None:
        self._ready = False
        notify_systemd(state)
        for part in reversed(self._parts):
            part.end()
        self._tell([part.state for part in self._parts])

    def _tell(self, states: Sequence[PartState]) -> None:
        try:
            self._publish(states)
            self._published = states
        except OSError as error:  # a full disk must not end the service; the next look tries it again
            if states != self._unwritten:
                _log.warning("The state of the parts cannot be written: %s.", error.strerror)
            self._unwritten = states


class _Supervised:
    """A part and its process."""

    def __init__(self, part: ServicePart, environment: Mapping[str, str], locks: tuple[int, ...]) -> None:
        self._part = part
        self._environment = environment
        self._locks = locks
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at: float | None = None
        self._restarts = 0
        self._exit_code: int | None = None
        self._begin()

    def _begin(self) -> None:
        """Wait for nothing but the socket that the part needs."""
        self._pause = 0.0
        self._due = 0.0
        self._patience = time.monotonic() + AFTER_SECONDS

    @property
    def state(self) -> PartState:
        pid = self._process.pid if self._process else None
        return PartState(self._part.name, pid, self._started_at, self._restarts, self._exit_code)

    def look(self) -> None:
        """Start it, if it does not run and its time has come."""
        if self._process is None:
            if time.monotonic() >= self._due and self._may_start():
                self._start()
        elif (code := self._process.poll()) is not None:
            self._died(code)

    def _may_start(self) -> bool:
        after = self._part.after
        return after is None or accepts(str(after)) or time.monotonic() > self._patience

    def _start(self) -> None:
        self._begun = time.monotonic()
        try:
            self._process = self._opened()
        except OSError as error:  # no memory, or no free process
            _log.warning("The %s cannot be started: %s.", self._part.name, error.strerror)
            self._died(error.errno or 1)
            return
        self._started_at = time.time()
        _log.info("The %s runs as process %d.", self._part.name, self._process.pid)

    def _opened(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # our own command
            self._part.command,
            env=self._environment,
            stdin=subprocess.PIPE,  # closed when we die, see run_part.py
            start_new_session=True,  # Ctrl-C and a closed terminal reach the supervisor, and neither parts nor runs
            pass_fds=(*self._locks, *self._part.descriptors),
        )

    def _died(self, code: int) -> None:
        self._forget()
        steady = time.monotonic() - self._begun >= STEADY_SECONDS
        self._pause = FIRST_PAUSE if steady or not self._pause else min(self._pause * 2, LONGEST_PAUSE)
        self._due = time.monotonic() + self._pause
        self._patience = self._due + AFTER_SECONDS
        self._restarts += 1
        self._exit_code = code
        _log.warning("The %s ended with %d. It starts again in %.0f s.", self._part.name, code, self._pause)

    def end(self) -> None:
        """Stop it; it may be started anew afterwards."""
        if self._process is not None and self._process.poll() is None:
            runs = _workers(self._process.pid)
            self._process.terminate()
            try:
                self._process.wait(self._part.stop_seconds)
            except subprocess.TimeoutExpired:
                if not runs:
                    _log.warning("The %s did not stop in %.0f s.", self._part.name, self._part.stop_seconds)
                self._process.kill()
                self._process.wait()
            goes_on = sum(run.is_running() and run.status() != psutil.STATUS_ZOMBIE for run in runs)
            _log.info("The %s has stopped.", self._part.name)
            if goes_on:
                _log.info("%s on without it.", counted(goes_on, "run goes", "runs go"))
        self._forget()
        self._begin()

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None


def _workers(pid: int) -> list[psutil.Process]:
    """Return the processes of runs below a process."""
    found = []
    try:
        for child in psutil.Process(pid).children(recursive=True):
            if is_run_process(child):
                found.append(child)
    except psutil.Error:  # one has just ended
        pass
    return found
