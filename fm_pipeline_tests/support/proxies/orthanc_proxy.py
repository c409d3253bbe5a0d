"""A proxy in front of a real Orthanc that applies faults of networks, proxies and full disks to chosen uploads."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from fm_pipeline.sandbox.dicom.instances import as_file, image


class Fault:
    """A fault of an upload: `answer` it instead of Orthanc, `forget` Orthanc's answer, or `hang`."""

    def __init__(self, kind: str, status: int = 0, orthanc_status: int | None = None) -> None:
        self.kind, self.status, self.orthanc_status = kind, status, orthanc_status


def answer(status: int, orthanc_status: int | None = None) -> Fault:
    """Return the fault that answers the upload without Orthanc. Without an `OrthancStatus` the body is empty."""
    return Fault("answer", status, orthanc_status)


def busy_from(upload: int) -> Callable[[int], Fault | None]:
    """Return the faults by which Orthanc accepts nothing from this upload on, until they are removed.

    An import waits there, so that a test can cancel it before its end, however fast the machine is.
    """
    return lambda number: answer(503) if number >= upload else None


FORGET = Fault("forget")  # Orthanc stores the file, and the connection is closed before its answer arrives
HANG = Fault("hang")  # there is no answer as long as the proxy runs


class OrthancProxy:
    """A server; `url` is its address.

    Args:
        orthanc_url: of the Orthanc behind; called for each request, because a restart may change it.

    Attributes:
        uploads: number of uploads so far.
        ends_orthanc: called with the content of each upload; if it returns True it has ended the Orthanc behind, and
            the upload gets no answer.
        tells_the_end: such an upload is answered 502, as most proxies do.
        most_bytes: larger bodies are answered 413, as nginx does above client_max_body_size; None for no limit.
        fault: called for each upload with its number, counted from 1; None forwards it.
        fault_of_content: called for each upload with its content.
    """

    def __init__(self, orthanc_url: Callable[[], str]) -> None:
        self.uploads = 0
        self.fault: Callable[[int], Fault | None] = lambda _: None
        self.fault_of_content: Callable[[bytes], Fault | None] = lambda _: None
        self.ends_orthanc: Callable[[bytes], bool] = lambda _: False
        self.tells_the_end = False
        self.most_bytes: int | None = None
        self._count = threading.Lock()
        self._ended = threading.Event()
        self._orthanc_url = orthanc_url
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy.handle(self)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Handle one request."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        fault = None
        if request.command == "POST" and request.path == "/instances":
            with self._count:
                self.uploads += 1
                fault = self.fault(self.uploads)
            fault = fault or self.fault_of_content(body)
            if self.ends_orthanc(body):
                fault = answer(502) if self.tells_the_end else Fault("close")
            if self.most_bytes is not None and len(body) > self.most_bytes:
                fault = answer(413)
        if fault and fault.kind in {"hang", "close"}:
            if fault.kind == "hang":
                self._ended.wait()
            request.close_connection = True
            return
        if fault and fault.kind == "answer":
            content = {"HttpStatus": fault.status, "OrthancStatus": fault.orthanc_status}
            _reply(request, fault.status, json.dumps(content).encode() if fault.orthanc_status else b"")
            return
        connection = http.client.HTTPConnection(urlsplit(self._orthanc_url()).netloc, timeout=60)
        try:
            connection.connect()
        except OSError:  # it does not run
            connection.close()
            _reply(request, 502, b"")
            return
        try:
            headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
            connection.request(request.command, request.path, body, headers)
            response = connection.getresponse()
            content_of_orthanc = response.read()
        except (OSError, http.client.HTTPException):
            request.close_connection = True
            return
        finally:
            connection.close()
        if fault and fault.kind == "forget":
            request.close_connection = True
            return
        _reply(request, response.status, content_of_orthanc)

    def run(self) -> None:
        """Serve until `end`."""
        self._server.serve_forever(poll_interval=0.05)

    def end(self) -> None:
        """Stop the proxy and end hanging requests."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()


def _reply(request: BaseHTTPRequestHandler, status: int, content: bytes) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


MARK = "This file ends the server when it passes a proxy of the tests"


def marked_file() -> bytes:
    """Return a valid image that contains the mark."""
    dataset = image("marked")
    dataset.ImageComments = MARK
    return as_file(dataset)


@contextmanager
def orthanc_proxy(orthanc_url: str | Callable[[], str]) -> Iterator[OrthancProxy]:
    """Run a proxy inside the block."""
    proxy = OrthancProxy((lambda: orthanc_url) if isinstance(orthanc_url, str) else orthanc_url)
    thread = threading.Thread(target=proxy.run)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.end()
        thread.join()
