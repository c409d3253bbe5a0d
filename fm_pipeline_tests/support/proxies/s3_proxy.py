"""A proxy in front of a real S3 server that applies faults of clouds and networks to chosen requests.

Signatures stay valid, because path, Host and every header are forwarded unchanged.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

from fm_pipeline_tests.support.waiting import wait_until

Fault = Literal["slow_down", "error_in_200", "lost_answer", "denied", "failed_condition", "cut", "archived", "skewed"]
_ANSWERS = {
    "slow_down": (503, "SlowDown"),
    "error_in_200": (200, "InternalError"),
    "denied": (403, "AccessDenied"),
    "failed_condition": (412, "PreconditionFailed"),
    "archived": (403, "InvalidObjectState"),
    "skewed": (403, "RequestTimeTooSkewed"),
}


@dataclass(frozen=True)
class Request:
    """A request of a client; `copies` is True for a copy, False for a put."""

    method: str
    path: str
    copies: bool
    number: int  # of this method and path, from 1
    query: str = ""


class _Server(ThreadingHTTPServer):
    """A server that records which clients have connected, and which were answered completely."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self.came: set[Any] = set()
        self.went: set[Any] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.came.add(client_address)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        super().process_request_thread(request, client_address)
        self.went.add(client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of clients that were killed."""


class S3Proxy:
    """A server; `url` is its address.

    Attributes:
        fault: called for each request; None forwards it.
        seen: every request.
    """

    def __init__(self, s3_url: str) -> None:
        self.fault: Callable[[Request], Fault | None] = lambda _: None
        self.seen: list[Request] = []
        self._lock = threading.Lock()
        self._s3 = urlsplit(s3_url).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy.handle(self)

            do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                """Tests are quiet."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def handle(self, client: BaseHTTPRequestHandler) -> None:
        """One request."""
        body = client.rfile.read(int(client.headers.get("Content-Length") or 0))
        path, _, query = client.path.partition("?")
        with self._lock:
            number = 1 + sum(each.path == path and each.method == client.command for each in self.seen)
            request = Request(client.command, path, "x-amz-copy-source" in client.headers, number, query)
            self.seen.append(request)
        fault = self.fault(request)
        if fault in _ANSWERS:
            status, code = _ANSWERS[fault]
            self._answer(client, status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())
            return
        connection = http.client.HTTPConnection(self._s3, timeout=30)
        try:
            connection.putrequest(client.command, client.path, skip_host=True, skip_accept_encoding=True)
            for name, value in client.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if fault == "lost_answer":
            client.close_connection = True
            client.connection.close()
            return
        self._answer(client, answer.status, content, list(answer.getheaders()), cut=fault == "cut")

    @staticmethod
    def _answer(
        client: BaseHTTPRequestHandler,
        status: int,
        content: bytes,
        headers: list[tuple[str, str]] | None = None,
        *,
        cut: bool = False,
    ) -> None:
        client.send_response_only(status)
        length = str(len(content))
        for name, value in headers or [("Content-Type", "application/xml")]:
            if name.lower() == "content-length":
                length = value  # of a HEAD, which has no content
            elif name.lower() not in {"transfer-encoding", "connection"}:
                client.send_header(name, value)
        client.send_header("Content-Length", length)
        client.end_headers()
        client.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            client.close_connection = True

    def serve(self) -> None:
        """Until `stop`."""
        self._server.serve_forever(poll_interval=0.05)

    def finish(self) -> None:
        """Complete the requests of clients that have disconnected or were killed."""
        with socket.create_connection(("127.0.0.1", self._server.server_port)) as last:  # after all that wait
            own = last.getsockname()
        wait_until(lambda: own in self._server.came <= self._server.went)

    def stop(self) -> None:
        """No more requests."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def s3_proxy(s3_url: str) -> Iterator[S3Proxy]:
    """Run a proxy inside the block."""
    proxy = S3Proxy(s3_url)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()
