"""Ports of 127.0.0.1: which are free, and which process listens on one."""

from __future__ import annotations

import socket
from typing import Any

import psutil

from fm_pipeline.errors import PipelineError


def free_port(preferred: int = 0) -> int:
    """Return the preferred port if it is free, else any free one.

    Raises:
        PipelineError: there is none.
    """
    for port in (preferred, 0):
        if found := _bound(port):
            return found
    raise PipelineError("No free port was found on 127.0.0.1.", remedy="Close some programs that listen.")


def refuse_taken_port(port: int, name: str) -> None:
    """Raise PipelineError if a program listens on a port that was requested; names its process."""
    if not _bound(port):
        raise PipelineError(
            f"Port {port} is taken by {_listener(port)}, so {name} was not started.",
            meaning="No request was sent to that program.",
            remedy="Choose another port, or end that program.",
        )


def listens(process: psutil.Process, port: int) -> bool:
    """Return whether a process, or one of its children, listens on the port."""
    try:
        return _has(process, port) or any(_has(child, port) for child in process.children(recursive=True))
    except psutil.Error:  # it has just ended
        return False


def _has(process: psutil.Process, port: int) -> bool:
    return any(_on(connection, port) for connection in process.net_connections("inet"))


def _on(connection: Any, port: int) -> bool:
    return bool(connection.status == psutil.CONN_LISTEN and connection.laddr.port == port)


def _bound(port: int) -> int:
    """Return the port if it can be bound, else 0."""
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
