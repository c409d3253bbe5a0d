"""Persistent connections: what a server may do with them, and what that means for a file."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.connection_pool import ConnectionPool
from fm_pipeline.dicom.orthanc.errors import AnswerTimedOut, NoAnswer, OrthancRefusedConnection
from fm_pipeline.errors import SettingsError
from fm_pipeline_tests.dicom.bench import import_settings
from fm_pipeline_tests.support.answering import Connected, connections

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def server(*treated: Connected) -> Iterator[ConnectionPool]:
    """One that treats its first connection in the first way, and so on."""
    with connections(*treated) as port:
        kept = ConnectionPool(f"http://127.0.0.1:{port}/orthanc", "user", "pässword", timeout_seconds=60)
        try:
            yield kept
        finally:
            kept.close()


def request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(1 << 16)
        if not more:  # the client has gone
            break
        received += more
    return received


def says(*answers: bytes) -> Connected:
    def connected(connection: socket.socket) -> None:
        for answer in answers:
            request(connection)
            connection.sendall(answer)

    return connected


def test_a_connection_is_used_again_and_one_that_was_closed_meanwhile_is_no_lost_answer() -> None:
    with server(says(OK, OK), says(OK)) as kept:
        assert kept.ask("GET", "/system").json() == {}
        assert kept.ask("GET", "/system").json() == {}
        ((idle, _),) = kept._idle
        idle.sock.settimeout(60)
        assert idle.sock.recv(1, socket.MSG_PEEK) == b""  # the server has closed it
        assert kept.ask("GET", "/system").json() == {}


def test_login_and_path_go_with_every_request() -> None:
    seen: list[bytes] = []

    def connected(connection: socket.socket) -> None:
        seen.append(request(connection))
        connection.sendall(OK)

    with server(connected) as kept:
        kept.ask("GET", "/system")
    assert seen[0].startswith(b"GET /orthanc/system HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Basic dXNlcjpww6Rzc3dvcmQ=\r\n" in seen[0]


@pytest.mark.hard_case(42)
def test_an_answer_that_comes_before_all_was_sent_counts_and_the_connection_is_not_used_again() -> None:
    def refuses(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    with server(refuses, says(OK)) as kept:
        assert kept.ask("POST", "/instances", b"x" * (32 << 20)).status == 401
        kept.close()
        assert kept.ask("GET", "/system").status == 200


@pytest.mark.parametrize("body", [b"x" * (32 << 20), [b"x" * (1 << 20)] * 32], ids=["whole", "blocks"])
@pytest.mark.hard_case(42)
def test_an_answer_of_a_server_that_reads_no_further_counts_too(body: bytes | list[bytes]) -> None:
    over = threading.Event()

    def refuses(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        over.wait(60)

    with server(refuses) as kept:
        assert kept.ask("POST", "/instances", body, {"Content-Length": str(32 << 20)}, seconds=0.5).status == 413
        over.set()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"HTTP/1"])
@pytest.mark.parametrize("into", [None, lambda _: None])
@pytest.mark.hard_case(42)
def test_what_is_no_whole_answer_is_none(answer: bytes, into: Callable[[bytes], object] | None) -> None:
    with server(says(answer)) as kept, pytest.raises(NoAnswer):
        kept.ask("GET", "/file", into=into)


@pytest.mark.hard_case(42)
def test_a_connection_that_ends_without_a_word_is_no_answer() -> None:
    with server(says(OK), says(b"")) as kept:
        kept.ask("GET", "/system")
        with pytest.raises(NoAnswer):
            kept.ask("GET", "/system")


@pytest.mark.hard_case(42)
def test_a_server_that_says_nothing_is_not_waited_for_and_one_that_is_down_was_sent_nothing() -> None:
    over = threading.Event()
    with server(lambda _: over.wait(60)) as kept:
        with pytest.raises(AnswerTimedOut):
            kept.ask("POST", "/instances", b"content", seconds=0.1)
        over.set()
    with pytest.raises(OrthancRefusedConnection):
        kept.ask("GET", "/system")


def test_what_the_blocks_of_a_file_raise_comes_through_and_the_server_gets_no_whole_file() -> None:
    got: list[bytes] = []

    def reads(connection: socket.socket) -> None:
        while block := connection.recv(1 << 16):
            got.append(block)

    def blocks() -> Iterator[bytes]:
        yield b"first"
        raise LookupError

    with server(reads) as kept, pytest.raises(LookupError):
        kept.ask("POST", "/instances", blocks(), {"Content-Length": "10"})
    assert b"".join(got).endswith(b"\r\n\r\nfirst")


def test_an_address_that_can_be_none_is_an_error_with_a_sentence(tmp_path: Path) -> None:
    settings = import_settings("postgresql://nobody@127.0.0.1:1/none", {}, tmp_path)
    with pytest.raises(SettingsError, match="ORTHANC_URL"):
        Orthanc.from_settings(settings.model_copy(update={"orthanc_url": "http://orthanc:eight"}))
    with pytest.raises(OrthancRefusedConnection):
        ConnectionPool("http://orthanc..example", "", "", timeout_seconds=1).ask("GET", "/system")
