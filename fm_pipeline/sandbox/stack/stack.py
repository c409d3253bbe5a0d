"""All services of the sandbox together: `up`, `down`, `status`, and the settings with which the pipeline uses them.

`stack.json` records what runs. It is written before a process is started and again when its pid is known, so that every
process can be found and ended, whatever was killed in between.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

import psutil

from fm_pipeline.errors import PipelineError
from fm_pipeline.pluralize import counted
from fm_pipeline.sandbox.stack.filemaker import FileMakerService
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.ownership import owned, refuse_if_in_use
from fm_pipeline.sandbox.stack.ports import free_port, listens, refuse_taken_port
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.processes import ProcessRecord, find, find_programs_of, stop
from fm_pipeline.sandbox.stack.put_off import interrupts_put_off
from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT, Service
from fm_pipeline.sandbox.stack.smtp import SmtpService
from fm_pipeline.sandbox.stack.state import (
    SECRETS_FILE,
    STACK_FILE,
    Secrets,
    make_private_folder,
    read_json,
    write_json,
)
from fm_pipeline.sandbox.stack.waiting import wait_until

SERVICES: tuple[type[Service], ...] = (PostgreSQLService, S3Service, FileMakerService, SmtpService, OrthancService)
LOCK_FILE = "stack.lock"
LOCK_LIMIT_SECONDS = 120.0  # another `up` on a slow machine takes less
HOSPITAL_FOLDER = "hospital"  # in the state folder; only the demo creates it
# Settings of the demo's clinic: the mapping profile of its layouts, and its rules.
CLINIC_SETTINGS = "clinic.json"
S = TypeVar("S", bound=Service)

ATTEMPTS = 3  # another program may take a free port before our server binds it, and the sessions of a killed
# PostgreSQL may keep its files open a moment longer


@dataclass(frozen=True)
class Status:
    """The state of one service."""

    name: str
    port: int | None
    pid: int | None
    log: Path

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.pid is not None


class Stack:
    """The sandbox's servers under one state folder.

    `up` leaves them running in the background. Used as a context manager, they end with the block, also if this process
    is killed: a watchdog waits for the end of a pipe that only this process holds open. Until then no other process
    starts or stops anything in the folder.

    Args:
        state_dir: the folder of all files, mode 0700.
        services: what to start, in this order. A service whose program is not installed is left out, see `missing`.
        temporary: remove the state folder at the end of the block.
    """

    def __init__(
        self, state_dir: Path, services: Sequence[type[Service]] = SERVICES, *, temporary: bool = False
    ) -> None:
        self.state_dir = state_dir.expanduser().absolute()
        self.service_types = tuple(kind for kind in services if kind.available())
        self.missing = tuple(kind for kind in services if not kind.available())
        self.secrets = Secrets(self.state_dir / SECRETS_FILE)
        self.temporary = temporary
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._owned = ExitStack()

    def up(self, ports: Mapping[str, int] | None = None) -> None:
        """Start the services that do not run yet, at once, and wait until each of them answers.

        Those that start last (`Service.starts_last`) are started when all others answer.

        Args:
            ports: by service name; by default the last port, or a free one.

        Raises:
            PipelineError: a service did not start, or already runs on another port; a requested port is taken; or
                another process uses the folder.
        """
        make_private_folder(self.state_dir)
        refuse_if_in_use(self.state_dir)
        with self._locked():
            self._refuse_taken_ports(ports or {})
            started: list[str] = []
            try:
                for last in (False, True):
                    kinds = [kind for kind in self.service_types if kind.starts_last == last]
                    for kind in kinds:
                        if not self._runs(kind, (ports or {}).get(kind.name)):
                            started.append(kind.name)
                            self._begin(kind, (ports or {}).get(kind.name))
                    for kind in kinds:
                        self._settle(kind, (ports or {}).get(kind.name), begun=kind.name in started)
            except BaseException:
                self._stop(started)
                raise

    def down(self) -> list[str]:
        """Stop every recorded service; idempotent. The data stay.

        Returns:
            The names of those that ran.

        Raises:
            PipelineError: another process uses the folder; or it was removed, and programs still use it.
        """
        if not self._records():
            self._refuse_programs_without_record()
        if not self.state_dir.exists():
            return []
        refuse_if_in_use(self.state_dir)
        with self._locked():
            records = self._records()
            ran = [name for name, record in records.items() if self._status(name, record).alive]
            self._stop(list(records))
        return ran

    def status(self) -> list[Status]:
        """Return the state of every service of this stack, running or not."""
        records = self._records()
        names = dict.fromkeys([kind.name for kind in self.service_types] + list(records))
        return [self._status(name, records.get(name)) for name in names]

    def environment(self) -> dict[str, str]:
        """Return the settings with which the pipeline uses this stack (names as in `.env.example`).

        Raises:
            PipelineError: a service has never been started, so it has no port.
        """
        settings = {"STATE_DIR": str(self.state_dir)}
        for kind in self.service_types:
            settings.update(self.service(kind).settings())
        hospital = self.state_dir / HOSPITAL_FOLDER
        settings |= {"HOSPITAL_DATA_PATH": str(hospital)} if hospital.is_dir() else {}
        clinic = self.state_dir / CLINIC_SETTINGS
        return settings | (json.loads(clinic.read_text("utf-8")) if clinic.is_file() else {})

    def service(self, kind: type[S]) -> S:
        """Return the service of that class, with its port.

        Raises:
            PipelineError: it has never been started, so it has no port.
        """
        record = self._records().get(kind.name)
        if record is None:
            raise PipelineError(
                f"The service {kind.name} of the stack in {self.state_dir} has never been started.",
                remedy=f"Start it: fm-pipeline stack up --state-dir {self.state_dir}",
            )
        return kind(self.state_dir, record.port, self.secrets)

    def answers(self, kind: type[Service]) -> bool:
        """Return whether the server that this stack has started, and no other, answers on its port."""
        record = self._records().get(kind.name)
        process = find(record) if record else None
        return process is not None and _is_who_answers(self.service(kind), process)

    def __enter__(self) -> Self:
        make_private_folder(self.state_dir)
        self._owned.enter_context(owned(self.state_dir))
        watchdog = [sys.executable, "-m", "fm_pipeline.sandbox.stack.watchdog", str(self.state_dir)]
        self._watchdog = subprocess.Popen(  # noqa: S603
            [*watchdog, "--remove"] if self.temporary else watchdog,
            stdin=subprocess.PIPE,
            cwd=PACKAGE_PARENT,
            start_new_session=True,
        )
        try:
            self.up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with interrupts_put_off():
            self._leave()

    def _leave(self) -> None:
        self.down()
        if self._watchdog is not None:
            # It has nothing left to stop, and would otherwise wait as long as this process uses the folder.
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None
        self._owned.close()
        if self.temporary:
            shutil.rmtree(self.state_dir, ignore_errors=True)

    def _refuse_programs_without_record(self) -> None:
        """Raise PipelineError if programs run in a folder that somebody has removed or emptied meanwhile."""
        if programs := find_programs_of(self.state_dir):
            pids = [str(process.pid) for process in programs]
            raise PipelineError(
                f"{counted(len(pids), 'program')} of {self.state_dir} still run, but what was recorded there is gone.",
                meaning="They may be servers whose folder was removed, or somebody else's. They were left alone.",
                remedy=f"See what they are: ps -fp {','.join(pids)}. Then end the servers: kill {' '.join(pids)}",
            )

    def _refuse_taken_ports(self, ports: Mapping[str, int]) -> None:
        records = self._records()
        for name, port in ports.items():
            if name not in records or find(records[name]) is None:
                refuse_taken_port(port, name)

    def _runs(self, kind: type[Service], wanted: int | None) -> bool:
        """Return whether the service runs, on the wanted port."""
        known = self._records().get(kind.name)
        if known is None or find(known) is None:
            return False
        if wanted not in (None, known.port):
            raise PipelineError(
                f"{kind.name} already runs on port {known.port}, not on {wanted}.",
                meaning="It was left as it is.",
                remedy=f"Stop the stack first: fm-pipeline stack down --state-dir {self.state_dir}",
            )
        return True

    def _begin(self, kind: type[Service], wanted: int | None) -> None:
        known = self._records().get(kind.name)
        self._start(kind, wanted or free_port(known.port if known else 0))

    def _settle(self, kind: type[Service], wanted: int | None, *, begun: bool) -> None:
        """Wait until a service is ready; if this call of `up` has started it and it ended, start it once more."""
        for attempt in range(1, ATTEMPTS + 1):
            if self._wait(self.service(kind), last=not begun or attempt == ATTEMPTS):
                return
            self._start(kind, wanted or free_port())

    def _start(self, kind: type[Service], port: int) -> None:
        service = kind(self.state_dir, port, self.secrets)
        service.prepare()
        with interrupts_put_off():  # a process that is just being made has no command line yet, so nobody could find it
            self._write(kind.name, service.record())
            process = service.start()
            self._write(kind.name, replace(service.record(), pid=process.pid, started=process.create_time()))

    def _wait(self, service: Service, *, last: bool = True) -> bool:
        """Wait until the service answers; return False if it ended and may be started once more."""
        record = self._records()[service.name]
        answers = False

        def settled() -> bool:
            nonlocal answers
            process = find(record)
            answers = process is not None and _is_who_answers(service, process)
            return answers or process is None

        wait_until(settled, service.ready_seconds)
        if answers:
            service.set_up()
            return True
        if not last and find(record) is None:
            return False
        self._stop([service.name])
        raise PipelineError(
            f"The service {service.name} did not become ready on port {service.port}.",
            meaning="It was stopped again.",
            remedy=f"Its log says why: {service.log}",
        )

    def _stop(self, names: Sequence[str]) -> None:
        with interrupts_put_off():
            records = self._records()
            stop(records[name] for name in reversed(names) if name in records)
            for name in names:
                if name in records:
                    self._write(name, replace(records[name], pid=None, started=None))

    def _status(self, name: str, record: ProcessRecord | None) -> Status:
        process = find(record) if record else None
        return Status(
            name=name,
            port=record.port if record else None,
            pid=process.pid if process else None,
            log=self.state_dir / "logs" / f"{name}.log",
        )

    def _records(self) -> dict[str, ProcessRecord]:
        content = read_json(self.state_dir / STACK_FILE) or {}
        return {name: ProcessRecord(**fields) for name, fields in content.items()}

    def _write(self, name: str, record: ProcessRecord) -> None:
        records = {**self._records(), name: record}
        write_json(self.state_dir / STACK_FILE, {key: asdict(value) for key, value in records.items()})

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Allow one `up` or `down` at a time per folder; the lock ends with its process."""
        handle = os.open(self.state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not wait_until(lambda: _lock(handle), LOCK_LIMIT_SECONDS):
                raise PipelineError(
                    f"Another process has been starting or stopping the stack in {self.state_dir} "
                    f"for {LOCK_LIMIT_SECONDS:.0f} seconds.",
                    remedy="Wait for it, or end it; then run the command again.",
                )
            yield
        finally:
            os.close(handle)


def temporary_stack(services: Sequence[type[Service]], *, parent: Path | None = None) -> Stack:
    """Return a stack in a new temporary folder, to be used as a context manager. For tests.

    Args:
        parent: of this folder; None for the machine's folder of temporary files.
    """
    return Stack(Path(tempfile.mkdtemp(prefix="fm-pipeline-stack-", dir=parent)), services, temporary=True)


def _is_who_answers(service: Service, process: psutil.Process) -> bool:
    """Return whether this process answers. Another server may have taken the port before ours bound it."""
    return service.ready() and (not service.serves or listens(process, service.port))


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
