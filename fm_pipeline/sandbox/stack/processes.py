"""Starting, recognising and ending one background process.

A process is known by its pid together with its start time, because a pid alone is given out again; failing
that by its exact command line, which carries the state folder. What it serves does not belong here.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

STOP_LIMIT_SECONDS = 20.0  # PostgreSQL writes a checkpoint on its way out
SAME_START_SECONDS = 1.0  # start times are read back through a file and a clock that may be corrected


@dataclass(frozen=True)
class ProcessRecord:
    """What is written down about a service, before and after its process starts.

    `pid` and `started` (seconds since 1970) are None before the start and after the stop; the port is kept so
    that the next start uses it again.
    """

    port: int
    command: Sequence[str]
    stop_signal: int = signal.SIGTERM
    pid: int | None = None
    started: float | None = None


@dataclass(frozen=True)
class SystemAccount:
    """A system user that a process runs as instead of ours."""

    uid: int
    gid: int


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    folder: Path,
    account: SystemAccount | None = None,
) -> psutil.Process:
    """Start a process that outlives us, in a session of its own, with its output appended to `log`.

    Args:
        command: program and arguments; no secrets, other users can read them.
        log: created with mode 0600.
        environment: the whole environment of the process; secrets go here.
        folder: working directory.
        account: the system user to run as; ours if None.
    """
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb") as output:
        child = subprocess.Popen(  # noqa: S603  # the command is ours
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
            umask=0o077,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    # From here on it is watched through psutil, like a process that somebody else started.
    # Without this line Popen warns about a process that it believes forgotten.
    child.returncode = 0
    return psutil.Process(child.pid)


def find(record: ProcessRecord) -> psutil.Process | None:
    """The living process of a record, or None. Never a process that merely has the same pid."""
    if record.pid is not None and (process := _alive(record.pid)) is not None:
        try:
            if (
                record.started is not None
                and abs(process.create_time() - record.started) <= SAME_START_SECONDS
                and _same_command(process, record.command)
            ):
                return process
        except psutil.Error:
            pass
    # Killed before the pid was written down, or the clock was set: the command line still tells.
    twins = [process for process in psutil.process_iter() if _same_command(process, record.command)]
    return min(twins, key=psutil.Process.create_time, default=None)


def stop(records: Iterable[ProcessRecord]) -> None:
    """End the processes of these records together: ask first, then kill after `STOP_LIMIT_SECONDS`.

    A server is given the time to end its own children; those that it leaves behind are ended too.
    """
    servers: list[psutil.Process] = []
    children: list[psutil.Process] = []
    for record in records:
        if (process := find(record)) is not None:
            children.extend(_children(process))
            servers.append(process)
            _signal(process, record.stop_signal)
    _, deaf = psutil.wait_procs(servers, timeout=STOP_LIMIT_SECONDS)
    for process in deaf:
        _signal(process, signal.SIGKILL)
    for process in children:
        _signal(process, signal.SIGTERM)
    _, deaf = psutil.wait_procs([*deaf, *children], timeout=STOP_LIMIT_SECONDS)
    for process in deaf:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(deaf, timeout=STOP_LIMIT_SECONDS)


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)  # psutil checks that the pid is still this process's
    except psutil.NoSuchProcess:
        return


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _alive(pid: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return process
        process.wait(0)  # a dead child of ours keeps its pid, and looks alive to others, until it is waited for
    except (psutil.NoSuchProcess, psutil.TimeoutExpired):
        pass
    return None


def _same_command(process: psutil.Process, command: Sequence[str]) -> bool:
    """Whether its arguments end with the same ones.

    The program's path may be shown resolved (macOS does), and a script has its interpreter before its own path.
    """
    try:
        return len(command) > 1 and process.cmdline()[1:][-len(command) + 1 :] == list(command[1:])
    except psutil.Error:  # gone, a zombie, or another user's
        return False
