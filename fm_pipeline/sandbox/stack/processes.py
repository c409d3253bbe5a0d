"""Starts, identifies and ends background processes.

A process is identified by its pid and its start time, because pids are reused; otherwise by its exact command line,
which contains the state folder. What a process serves does not belong here.
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
SAME_START_SECONDS = 1.0  # tolerance of start times, because the clock may be corrected


@dataclass(frozen=True)
class ProcessRecord:
    """The record of a service, written before and after its process starts.

    `pid` and `started` (seconds since 1970) are None before the start and after the stop. The port is kept, so that the
    next start uses it again.
    """

    port: int
    command: Sequence[str]
    stop_signal: int = signal.SIGTERM
    pid: int | None = None
    started: float | None = None


@dataclass(frozen=True)
class SystemAccount:
    """The system user that a process runs as, if not ours."""

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
        command: program and arguments, without secrets, because other users can read them.
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
    # From here on psutil watches the process. Without this line Popen warns that it is still running.
    child.returncode = 0
    return psutil.Process(child.pid)


def find(record: ProcessRecord) -> psutil.Process | None:
    """Return the running process of a record, or None. Never a process that only has the same pid."""
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
    # If we were killed before the pid was recorded, or the clock was set, the command line still identifies it.
    twins = [process for process in psutil.process_iter() if _same_command(process, record.command)]
    return min(twins, key=psutil.Process.create_time, default=None)


def find_programs_of(folder: Path) -> list[psutil.Process]:
    """Return the running processes that have a file or folder below this one on their command line, but not us."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in ours and any(f"{folder}/" in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:  # it has just ended
            continue
    return found


def stop(records: Iterable[ProcessRecord]) -> None:
    """End the processes of these records together: send the stop signal, then SIGKILL after `STOP_LIMIT_SECONDS`.

    A server gets the time to end its own children. Children that it leaves behind are ended too.
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
        process.wait(0)  # a dead child of ours is a zombie until it is waited for
    except (psutil.NoSuchProcess, psutil.TimeoutExpired):
        pass
    return None


def _same_command(process: psutil.Process, command: Sequence[str]) -> bool:
    """Return whether the process has the arguments of the command.

    Its program's path may be resolved (macOS), and a script has its interpreter before its own path.
    """
    try:
        return len(command) > 1 and process.cmdline()[1:][-len(command) + 1 :] == list(command[1:])
    except psutil.Error:  # gone, a zombie, or another user's
        return False
