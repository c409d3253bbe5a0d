"""Ports on which another program answers: every request with the same bytes, or each connection in its own way.

They end with the block that opened them, also if a client never came.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Connected = Callable[[socket.socket], object]


@contextmanager
def connections(*expected: Connected) -> Iterator[int]:
    """A port of 127.0.0.1 that treats its first connection in the first way, and so on."""

    def serve() -> None:
        for treat in expected:
            try:
                client, _ = server.accept()
            except OSError:  # the block has ended without this connection
                return
            with client:
                treat(client)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            thread.join(5)
            server.shutdown(socket.SHUT_RDWR)  # a connection that it still waits for never comes
            thread.join()


@contextmanager
def answering(answer: bytes, *, greets: bool = False) -> Iterator[int]:
    """A port of 127.0.0.1 that gives each client these bytes after its first ones, and closes.

    Args:
        greets: it speaks first, as mail servers do; their clients wait for it.
    """

    def serve() -> None:
        with contextlib.suppress(OSError):  # the server is closed, or a client went away
            while True:
                client, _ = server.accept()
                with client, contextlib.suppress(OSError):
                    client.settimeout(5)
                    if not greets:
                        client.recv(65_536)
                    client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
