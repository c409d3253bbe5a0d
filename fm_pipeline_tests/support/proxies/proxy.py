"""TCP proxies in front of PostgreSQL: one closes the connection exactly at COMMIT, one keeps all and falls silent."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

Moment = Literal["before", "after"]
COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"  # the simple query message that psycopg2 sends
READY = b"Z\x00\x00\x00\x05I"  # ReadyForQuery: the end of a login, and of each answer outside of a transaction


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


class SilentProxy:
    """Forwards everything until it is told to fall silent.

    Attributes:
        after_login: whether new connections fall silent when they are logged in; else they are forwarded.
        logins: how many have done so.
    """

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        self._server = (parts.hostname or "", parts.port or 0)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._silent = threading.Event()  # of the connections that there are; replaced for later ones
        self.after_login = False
        self.logins = 0
        self.port: int = self._listening.getsockname()[1]
        place = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{self.port}")
        self.url = place.geturl() + "?sslmode=disable&gssencmode=disable"
        threading.Thread(target=self._serve, daemon=True).start()

    def fall_silent(self, *, new_ones_too: bool) -> None:
        """Forward nothing on the connections that there are; on new ones neither, once they are logged in."""
        self._silent.set()
        self._silent = threading.Event()
        self.after_login = new_ones_too

    def end(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._server)
                both = (client, server), (server, client)
                login = threading.Event() if self.after_login else None
                for source, target in both:
                    threading.Thread(
                        target=self._forward, args=(source, target, self._silent, login), daemon=True
                    ).start()

    def _forward(
        self, source: socket.socket, target: socket.socket, silent: threading.Event, login: threading.Event | None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if silent.is_set() or (login is not None and login.is_set()):
                    continue
                if login is not None and READY in data:
                    login.set()
                    self.logins += 1
                target.sendall(data)
        _close(source, target)


@contextlib.contextmanager
def silent_proxy(database_url: str) -> Iterator[SilentProxy]:
    """One as long as the block lasts."""
    proxy = SilentProxy(database_url)
    try:
        yield proxy
    finally:
        proxy.end()
