"""A server that says to each request the next of some answers, whatever was asked; the last one again and again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from fm_pipeline_tests.answers.strategies import Said

_LONGEST_SECONDS = 300.0  # of a connection that the other side forgets


class AnsweringServer:
    """On 127.0.0.1 at `port`.

    Args:
        greets: whether it speaks first, as mail servers do.
    """

    def __init__(self, *, greets: bool = False) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._greets = greets
        self._answers: Sequence[Said] = ()
        self._given = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def will_say(self, answers: Sequence[Said]) -> None:
        """From now on; what is left of earlier connections ends."""
        self._over.set()
        with self._lock:
            self._over = threading.Event()
            self._answers, self._given = answers, 0

    def end(self) -> None:
        """Stop."""
        self._over.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _next(self) -> Said:
        with self._lock:
            said = self._answers[min(self._given, len(self._answers) - 1)]
            self._given += 1
            return said

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._talk, args=(connection, self._over), daemon=True).start()

    def _talk(self, connection: socket.socket, over: threading.Event) -> None:
        with suppress(OSError), connection:
            connection.settimeout(_LONGEST_SECONDS)
            asked = self._greets or bool(connection.recv(1 << 20))
            while asked and not over.is_set():
                said = self._next()
                size = max(-(-len(said.data) // said.pieces), 1)
                for place in range(0, len(said.data), size):
                    if place and said.pause_seconds and over.wait(said.pause_seconds):
                        return
                    connection.sendall(said.data[place : place + size])
                if said.hangs:
                    over.wait(_LONGEST_SECONDS)
                if not self._greets:
                    return
                asked = bool(connection.recv(1 << 20))


@contextmanager
def answering_server(*, greets: bool = False) -> Iterator[AnsweringServer]:
    """One as long as the block lasts."""
    server = AnsweringServer(greets=greets)
    try:
        yield server
    finally:
        server.end()
