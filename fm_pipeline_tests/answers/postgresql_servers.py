"""A server in place of PostgreSQL, and a proxy in front of a real one with a fault in one answer."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fm_pipeline_tests.answers.postgresql import Fault
from fm_pipeline_tests.answers.server import AnsweringServer

_CLIENTS_TURN = b"RZEGW"  # messages after which a server may wait
_SILENCE_SECONDS = 0.05  # a client that waits for the rest of a message sends nothing


class InPlaceOfPostgreSQL(AnsweringServer):
    """Sends the same answers on each connection, one to each packet of the client, and then closes it."""

    def _talk(self, connection: socket.socket, over: threading.Event) -> None:
        with suppress(OSError), connection:
            connection.settimeout(_SILENCE_SECONDS)
            for said in self._answers:
                with suppress(TimeoutError):
                    if not connection.recv(1 << 16) or over.is_set():
                        return
                size = max(-(-len(said.data) // said.pieces), 1)
                for place in range(0, len(said.data), size):
                    connection.sendall(said.data[place : place + size])


class DisturbingProxy:
    """A proxy on 127.0.0.1 at `port` in front of a real server, without TLS.

    Args:
        server: host and port of the real server.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._fault: Fault | None = None
        self._passed = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._serve, daemon=True).start()

    def will_do(self, fault: Fault) -> None:
        """Set the next fault."""
        with self._lock:
            self._fault, self._passed = fault, 0

    def end(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._server)
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()
                threading.Thread(target=self._to_client, args=(server, client), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                server.sendall(data)
        _end(client, server)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        replaced: Fault | None = None
        kept = b""  # until it is the client's turn: one packet for each small message would be slow
        with suppress(OSError), server.makefile("rb") as messages:
            while head := messages.read(5):
                whole = head + messages.read(struct.unpack("!I", head[1:])[0] - 4)
                ends = head[:1] == b"Z"
                fault = self._due(ends=ends)
                if fault and fault.kind == "close":
                    client.sendall(kept)
                    break
                replaced = replaced or fault
                if not replaced:
                    kept += whole
                    if head[:1] in _CLIENTS_TURN:
                        client.sendall(kept)
                        kept = b""
                elif replaced.kind == "other" or head[:1] == b"R":  # nothing follows a failed login
                    client.sendall(replaced.instead)
                    break
                elif ends:
                    client.sendall(replaced.instead + whole)
                    replaced = None
        _end(client, server)

    def _due(self, *, ends: bool) -> Fault | None:
        """Return the fault if it is due at this message; it occurs once."""
        with self._lock:
            fault = self._fault
            if fault is None:
                return None
            due = self._passed >= fault.after
            self._passed += 1 if ends or fault.kind == "close" else 0
            if due:
                self._fault = None
            return fault if due else None


def _end(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


@contextmanager
def in_place_of_postgresql() -> Iterator[InPlaceOfPostgreSQL]:
    """One as long as the block lasts."""
    server = InPlaceOfPostgreSQL()
    try:
        yield server
    finally:
        server.end()


@contextmanager
def disturbing_proxy(host: str, port: int) -> Iterator[DisturbingProxy]:
    """One as long as the block lasts."""
    proxy = DisturbingProxy((host, port))
    try:
        yield proxy
    finally:
        proxy.end()
