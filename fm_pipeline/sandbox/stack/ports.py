"""Ports of 127.0.0.1: free, taken, and whose."""

from __future__ import annotations

import socket
from typing import Any

import psutil

from fm_pipeline.errors import PipelineError


def free_port(preferred: int = 0) -> int:
    """The preferred port if nobody listens there, else any free one.

    Raises:
        PipelineError: there is none.
    """
    for port in (preferred, 0):
        if found := _bound(port):
            return found
    raise PipelineError("No free port was found on 127.0.0.1.", remedy="Close some programs that listen.")


def refuse_taken_port(port: int, name: str) -> None:
    """Raises PipelineError if a program listens on the port that somebody has asked for; names its process."""
    if not _bound(port):
        raise PipelineError(
            f"Port {port} is taken by {_listener(port)}, so {name} was not started.",
            meaning="That program was not asked for anything.",
            remedy="Give another port, or end that program.",
        )


def listens(process: psutil.Process, port: int) -> bool:
    """Whether a process, or one that it has started, is who answers on the port."""
    try:
        return _has(process, port) or any(_has(child, port) for child in process.children(recursive=True))
    except psutil.Error:  # it has just ended
        return False


def _has(process: psutil.Process, port: int) -> bool:
    return any(_on(connection, port) for connection in process.net_connections("inet"))


def _on(connection: Any, port: int) -> bool:
    return bool(connection.status == psutil.CONN_LISTEN and connection.laddr.port == port)


def _bound(port: int) -> int:
    """The port if it can be bound, 0 if not."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])


def _listener(port: int) -> str:
    try:
        pids = {connection.pid for connection in psutil.net_connections("inet") if _on(connection, port)}
    except psutil.Error:  # only an administrator sees whose it is
        pids = set()
    return f"process {min(pid for pid in pids if pid)}" if any(pids) else "another program"
