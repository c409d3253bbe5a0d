"""The site's socket. The supervisor holds it, so that requests wait while the site starts again."""

from __future__ import annotations

import socket

from fm_pipeline.errors import PipelineError

HOST = "127.0.0.1"  # TLS and other hosts are a proxy's work
BACKLOG = 2048


def listen(port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        PipelineError: the port is taken, or may not be taken.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise PipelineError(
            f"Port {port} of {HOST} cannot be used: {error.strerror}.",
            meaning="Nothing was started.",
            remedy="End the program that listens there, or give another port with --port.",
        ) from None
    return listening


def answers(port: int, seconds: float) -> bool:
    """Return whether a web server answers there, whatever it says.

    Without the name of a site the console refuses this at once: it asks no database and logs nothing.
    """
    try:
        with socket.create_connection((HOST, port), timeout=seconds) as connection:
            connection.sendall(b"GET /dagster HTTP/1.0\r\n\r\n")
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False


def accepts(path: str) -> bool:
    """Return whether a process listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0
