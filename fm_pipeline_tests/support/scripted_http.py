"""A web server that sends exactly the bytes of a test, in place of a server of another kind or version."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SYSTEM = {"ApiVersion": 27, "Version": "1.12.11", "OverwriteInstances": False}
STATISTICS = {"CountInstances": 0, "CountPatients": 0, "TotalDiskSize": "0"}


@dataclass(frozen=True)
class Request:
    """A received request."""

    method: str
    path: str
    head: bytes
    body: bytes


Answering = Callable[[Request], bytes | None]  # the whole answer; None closes the connection without one


@dataclass
class Scripted:
    """A running server.

    Attributes:
        port: on 127.0.0.1.
        requests: the received requests, in order.
    """

    port: int
    requests: list[Request] = field(default_factory=list)


def reply(status: int, body: bytes | str | dict[str, Any] | list[Any] = b"", **headers: str) -> bytes:
    """Return a complete response that closes the connection. A dict or a list is sent as JSON."""
    content = json.dumps(body) if isinstance(body, dict | list) else body
    data = content.encode() if isinstance(content, str) else content
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(data)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def like_orthanc(
    upload: bytes | None = None, /, system: dict[str, Any] = SYSTEM, statistics: dict[str, Any] = STATISTICS
) -> Answering:
    """Return the answers of an empty Orthanc. `upload` answers an upload; by default it is refused as no DICOM file."""
    refused = reply(400, {"HttpStatus": 400, "OrthancStatus": 15})

    def answering(request: Request) -> bytes | None:
        if request.path == "/system":
            return reply(200, system)
        if request.path == "/statistics":
            return reply(200, statistics)
        if request.path == "/instances":
            return refused if upload is None else upload
        if request.path == "/tools/bulk-content":
            return reply(200, [])
        return reply(404, {"HttpStatus": 404, "OrthancStatus": 17})

    return answering


@contextmanager
def scripted(answering: Answering, tls: tuple[Path, Path] | None = None) -> Iterator[Scripted]:
    """Run a server inside the block.

    Args:
        tls: certificate and key, for https.
    """
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Scripted(listening.getsockname()[1])

        def connected(plain: socket.socket) -> None:
            with suppress(OSError), plain:
                plain.settimeout(30)
                with context.wrap_socket(plain, server_side=True) if context else plain as connection:
                    request = _request(connection)
                    if request is None:
                        return
                    server.requests.append(request)
                    if (said := answering(request)) is not None:
                        connection.sendall(said)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=connected, args=(listening.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _request(connection: socket.socket) -> Request | None:
    """Read a complete request; return None if it is none."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (block := connection.recv(1 << 16)):
            return None
        received += block
        if not received[:1].isalpha():  # TLS, where it is not spoken
            return None
    head, _, body = received.partition(b"\r\n\r\n")
    method, path, *_ = head.decode("latin-1").split(" ", 2)
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length and (block := connection.recv(1 << 20)):
        body += block
    return Request(method, path, head, body)
