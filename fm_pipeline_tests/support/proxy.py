"""A TCP proxy in front of PostgreSQL that closes the connection exactly at COMMIT."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Literal

Moment = Literal["before", "after"]
COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"  # the simple query message that psycopg2 sends


@contextlib.contextmanager
def cutting_proxy(host: str, port: int, moment: Moment, *, arm: threading.Event) -> Iterator[int]:
    """Listen on a free port and forward everything; when armed, close the connection that sends COMMIT.

    Args:
        moment: `before` the server receives it, or `after` the server has answered, without the client getting it.

    Yields:
        The port. New connections are forwarded as before.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_serve, args=(listening, (host, port), moment, arm), daemon=True).start()
        yield listening.getsockname()[1]


def _serve(listening: socket.socket, target: tuple[str, int], moment: Moment, arm: threading.Event) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        server = socket.create_connection(target)
        cut = threading.Event()
        threading.Thread(target=_upstream, args=(client, server, moment, arm, cut), daemon=True).start()
        threading.Thread(target=_downstream, args=(server, client, cut), daemon=True).start()


def _upstream(
    client: socket.socket, server: socket.socket, moment: Moment, arm: threading.Event, cut: threading.Event
) -> None:
    with contextlib.suppress(OSError):
        while data := client.recv(1 << 16):
            if arm.is_set() and data == COMMIT:
                arm.clear()
                if moment == "before":
                    break
                cut.set()  # the answer is discarded, see _downstream
            server.sendall(data)
    _close(client, server)


def _downstream(server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := server.recv(1 << 16):
            if cut.is_set():
                break
            client.sendall(data)
    _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
