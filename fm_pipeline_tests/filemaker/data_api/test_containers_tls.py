"""Container files over https, and from a server that answers in every way that HTTP allows."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.containers import ContainerDownloads
from fm_pipeline.filemaker.errors import (
    CertificateRefused,
    ContainerExpired,
    ContainerNotAFile,
    ContainerRefused,
    ServerUnavailable,
)
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.filemaker.conftest import PASSWORD, USER, clinic_on
from fm_pipeline_tests.filemaker.data_api.test_containers import fill
from fm_pipeline_tests.sandbox.filemaker.running import running_stand_in
from fm_pipeline_tests.support.pictures import ERROR_PAGE, picture
from fm_pipeline_tests.support.tls import make_certificate

JPEG = picture(1, (640, 480))
URL = "/Streaming_SSL/MainDB/0a1b.jpg?RCType=EmbeddedRCFileProcessor"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_a_container_comes_over_https_from_a_server_whose_authority_is_named_and_from_no_other(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    store = Store(tmp_path / "state.sqlite")
    with running_stand_in(store, tls=certificate) as server, clinic_on(store, server) as clinic:
        fill(clinic)
        address = (server.base_url, clinic.database, USER, PASSWORD)
        with DataApiClient(*address, ca_bundle=certificate[0]) as client:
            record = client.record("API_Images", 1)
            assert record
            url = str(record.fields["image_Full"])
            assert url.startswith("https://")
            assert ContainerDownloads(client).download("API_Images", 1, "image_Full", url).content == picture(1)
        before = clinic.answered("login")
        with pytest.raises(CertificateRefused), DataApiClient(*address) as client:
            client.record("API_Images", 1)
        assert clinic.answered("login") == before
    store.close()


Answer = Callable[["Handler"], None]


@dataclass
class Server:
    """A FileMaker Server whose answers to requests for a file are given one by one, the last one for good.

    Attributes:
        seen: (path, Cookie, Authorization) of each request for a file.
    """

    base_url: str
    ca_bundle: Path
    answers: list[Answer] = field(default_factory=list)
    seen: list[tuple[str, str, str]] = field(default_factory=list)

    def download(self, *answers: Answer) -> bytes:
        self.answers[:], self.seen[:] = answers, []
        with DataApiClient(self.base_url, "db", USER, PASSWORD, ca_bundle=self.ca_bundle, timeout=60) as client:
            return ContainerDownloads(client).download("API_Images", 1, "photo", self.base_url + URL).content


class Handler(BaseHTTPRequestHandler):
    server: Web

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.say(200, _envelope({"token": "T"}), ("X-FM-Data-Access-Token", "T"))

    def do_DELETE(self) -> None:
        self.say(200, _envelope({}))

    def do_GET(self) -> None:
        script = self.server.script
        if not self.path.startswith("/Streaming_SSL"):
            row = {"fieldData": {"photo": script.base_url + URL}, "recordId": "1", "modId": "0", "portalData": {}}
            self.say(200, _envelope({"data": [row], "dataInfo": {"foundCount": 1, "returnedCount": 1}}))
            return
        headers = self.headers
        script.seen.append((self.path, headers.get("Cookie", ""), headers.get("Authorization", "")))
        (script.answers.pop(0) if len(script.answers) > 1 else script.answers[0])(self)

    def say(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name in {"Content-Length", "Transfer-Encoding"} for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Web(ThreadingHTTPServer):
    daemon_threads = True
    script: Server


def _envelope(response: dict[str, object]) -> bytes:
    return json.dumps({"response": response, "messages": [{"code": "0", "message": "OK"}]}).encode()


def say(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Answer:
    return lambda handler: handler.say(status, body, *headers)


def redirect(to: str, *cookies: str) -> Answer:
    return say(302, b"", ("Location", to), *(("Set-Cookie", cookie) for cookie in cookies))


FILE = say(200, JPEG, ("Content-Type", "image/jpeg"))
KEY = "X-FMS-Session-Key=k1; Expires=Wed, 25 Nov 2026 21:00:00 GMT; Path=/Streaming_SSL; Secure; HttpOnly"


@contextmanager
def serving(certificate: tuple[Path, Path]) -> Iterator[Server]:
    web = Web(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    web.script = Server(f"https://127.0.0.1:{web.server_port}", certificate[0])
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield web.script
    web.shutdown()
    thread.join()
    web.server_close()


@pytest.fixture(scope="module")
def server(certificate: tuple[Path, Path]) -> Iterator[Server]:
    with serving(certificate) as running:
        yield running


def test_all_cookies_of_the_redirect_are_sent_back_also_those_of_a_proxy(server: Server) -> None:
    assert server.download(redirect(URL, "ROUTE=node-2; path=/", KEY), FILE) == JPEG
    assert [cookie for _, cookie, _ in server.seen] == ["", "ROUTE=node-2; X-FMS-Session-Key=k1"]


def test_a_redirect_to_another_host_is_not_followed_and_nothing_of_ours_goes_there(
    server: Server, certificate: tuple[Path, Path]
) -> None:
    with serving(certificate) as stranger:
        stranger.answers.append(FILE)
        for there in (stranger.base_url + URL, stranger.base_url.replace("https", "http") + URL, "//elsewhere/x"):
            assert server.download(redirect(there, KEY), FILE) == JPEG  # from the original URL, with the cookie
            with pytest.raises(ContainerExpired, match="One redirect led to the next"):
                server.download(redirect(there, KEY))
            with pytest.raises(ContainerExpired, match="without a cookie"):
                server.download(redirect(there))
        assert stranger.seen == []
    assert {path for path, _, _ in server.seen} == {URL}


def test_an_expired_cookie_or_url_is_replaced_once(server: Server) -> None:
    gone = say(401, ERROR_PAGE, ("Content-Type", "text/html"))
    assert server.download(gone, redirect(URL, KEY), FILE) == JPEG
    for status in (401, 404, 410):
        with pytest.raises(ContainerExpired, match=f"HTTP {status}"):
            server.download(say(status, ERROR_PAGE))
        assert len(server.seen) == 2
    with pytest.raises(ContainerNotAFile):
        server.download(say(200, ERROR_PAGE, ("Content-Type", "image/jpeg")))


CHUNKS = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (JPEG[:1000], JPEG[1000:]))
ZIPPED = gzip.compress(JPEG)
IN_MEMBERS = gzip.compress(JPEG[:1000]) + gzip.compress(JPEG[1000:])


def test_a_file_may_come_in_chunks_or_compressed_or_without_a_length(server: Server) -> None:
    def until_the_end(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(JPEG)

    in_chunks = say(200, CHUNKS + b"0\r\n\r\n", ("Transfer-Encoding", "chunked"))
    zipped = [say(200, content, ("Content-Encoding", "gzip")) for content in (ZIPPED, IN_MEMBERS)]
    for answer in (in_chunks, *zipped, until_the_end):
        assert server.download(answer) == JPEG


@pytest.mark.parametrize(
    "answer",
    [
        say(200, JPEG[:-1], ("Content-Length", str(len(JPEG)))),
        say(200, CHUNKS, ("Transfer-Encoding", "chunked")),
        say(200, CHUNKS[:700], ("Transfer-Encoding", "chunked")),
        say(200, ZIPPED[:-9], ("Content-Encoding", "gzip"), ("Content-Length", str(len(ZIPPED)))),
        say(200, ZIPPED[:-9], ("Content-Encoding", "gzip")),
        say(200, IN_MEMBERS[:-9], ("Content-Encoding", "gzip")),
        say(200, JPEG, ("Content-Encoding", "gzip")),
    ],
    ids=[
        "a byte short",
        "no last chunk",
        "half a chunk",
        "compressed and short",
        "compressed and cut",
        "the second member cut",
        "not compressed",
    ],
)
@pytest.mark.hard_case(31)
def test_a_file_that_is_not_whole_by_the_rules_of_http_is_none(server: Server, answer: Answer) -> None:
    with pytest.raises(ServerUnavailable):
        server.download(answer)


@pytest.mark.parametrize("status", [204, 206, 304, 400, 403, 416, 500])
@pytest.mark.hard_case(31)
def test_a_part_of_a_file_is_none_and_neither_is_another_answer(server: Server, status: int) -> None:
    body = b"" if status in {204, 304} else JPEG[:2000]
    with pytest.raises(ContainerRefused, match=f"HTTP {status}"):
        server.download(say(status, body, ("Content-Range", f"bytes 0-1999/{len(JPEG)}")))
