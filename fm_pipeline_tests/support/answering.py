"""A port on which another program answers every request with the same bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
