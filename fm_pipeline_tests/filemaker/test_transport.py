"""The way to the server: what is repeated, what is refused, and TLS with a private authority."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from fm_pipeline.errors import SettingsError
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.errors import (
    BY_CODE,
    CertificateRefused,
    NoRecordsMatch,
    NotTheDataApi,
    ServerTimeout,
    ServerUnavailable,
    UnknownCode,
    WrongPassword,
    error_for,
)
from fm_pipeline.filemaker.transport import ATTEMPTS
from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.filemaker.serving import listen
from fm_pipeline_tests.filemaker.conftest import Clinic
from fm_pipeline_tests.sandbox.filemaker.running import running_stand_in
from fm_pipeline_tests.support.answering import answering, connections


def asking_once(port: int, timeout: float = 60) -> DataApiClient:
    """A client of the server at a port for which it is a failure to ask again."""

    def repeat(_seconds: float) -> None:
        pytest.fail("it asked again")

    return DataApiClient(f"http://127.0.0.1:{port}", "clinic", "a", "b", timeout=timeout, sleep=repeat)


@pytest.mark.parametrize("what", ["bad_gateway", "service_unavailable", "gateway_timeout", "cut"])
def test_a_read_is_repeated_with_growing_pauses_until_the_server_answers(clinic: Clinic, what: str) -> None:
    clinic.notes(1)
    clinic.server.disturb(what, of=["records"], times=3)
    with clinic.client() as client:
        assert client.page("API_Notes", 1, 10).found_count == 1
    assert len(clinic.pauses) == 3
    assert 0.5 <= clinic.pauses[0] <= 1 <= clinic.pauses[1] <= 2 <= clinic.pauses[2] <= 4


def test_a_server_that_stays_away_is_given_up_after_a_bounded_number_of_tries(clinic: Clinic) -> None:
    clinic.server.disturb("bad_gateway", of=["layouts"], times=None)
    with clinic.client() as client, pytest.raises(ServerUnavailable, match=r"answered 502.*Admin Console"):
        client.layouts()
    assert clinic.answered("layouts") == ATTEMPTS
    assert max(clinic.pauses) <= 30


def test_a_web_page_in_place_of_an_answer_is_never_read_as_no_rows(clinic: Clinic) -> None:
    clinic.notes(1)
    clinic.server.disturb("wrong_content", of=["records"])
    with clinic.client() as client, pytest.raises(NotTheDataApi, match="the Data API is switched on"):
        client.page("API_Notes", 1, 10)
    assert clinic.pauses == []


def test_an_answer_that_takes_too_long_says_how_to_make_it_shorter(clinic: Clinic) -> None:
    clinic.server.disturb("slow", seconds=3600, of=["layouts"])
    with clinic.client(timeout=0.2) as client, pytest.raises(ServerTimeout, match="FILEMAKER_TIMEOUT_SECONDS"):
        client.layouts()


def test_an_answer_that_stops_in_its_middle_is_a_time_out_too() -> None:
    def answer_half(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"response":')
        connection.recv(1)  # until the client gives up

    with (
        connections(answer_half) as port,
        asking_once(port, timeout=0.2) as client,
        pytest.raises(ServerTimeout, match=r"within 0\.2 seconds"),
    ):
        client.product_info()


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", NotTheDataApi),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>", NotTheDataApi),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", NotTheDataApi),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"messages":[]}', NotTheDataApi),
    ],
)
def test_what_is_not_the_data_api_gets_no_second_call(raw: bytes, error: type[Exception]) -> None:
    with answering(raw) as port, asking_once(port) as client, pytest.raises(error):
        client.product_info()


def test_no_server_at_all_is_told_without_a_password_in_the_text() -> None:
    with listen() as unused:
        port = unused.getsockname()[1]
    client = DataApiClient(f"http://127.0.0.1:{port}", "clinic", "a", "secret-word", sleep=lambda _: None)
    with pytest.raises(ServerUnavailable, match="no connection") as refused:
        client.layouts()
    assert "secret-word" not in f"{refused.value!r} {refused.value.__context__!r}"


def test_proxies_and_netrc_from_environment_get_no_records(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login stranger password stranger\n")
    netrc.chmod(0o600)
    for name, value in {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NETRC", str(netrc))
    clinic.notes(1)
    with clinic.client() as client:
        assert client.page("API_Notes", 1, 10).found_count == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://filemaker.clinic.example",
        "http://127.0.0.1.clinic.example",
        "https://user:word@filemaker.clinic.example",
        "https://",
        "filemaker.clinic.example",
    ],
)
def test_an_address_that_would_show_the_password_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="FILEMAKER_URL"):
        DataApiClient(url, "clinic", "a", "b")


def test_a_certificate_of_a_private_authority_needs_its_bundle(tmp_path: Path) -> None:
    authority, certificate, key = _private_authority(tmp_path)
    store = Store(tmp_path / "state.sqlite")
    store.add_account("clinic", ServerAccount("a", "b"))
    with running_stand_in(store, tls=(certificate, key)) as server:
        with DataApiClient(server.base_url, "clinic", "a", "b", ca_bundle=authority) as client:
            assert client.layouts() == []
        with pytest.raises(CertificateRefused, match="Set FILEMAKER_CA_BUNDLE"):
            DataApiClient(server.base_url, "clinic", "a", "b").layouts()
        other_name = server.base_url.replace("127.0.0.1", "localhost")
        with pytest.raises(CertificateRefused, match="the name that the certificate has"):
            DataApiClient(other_name, "clinic", "a", "b", ca_bundle=authority).layouts()
    store.close()


def test_a_bundle_that_is_not_there_is_found_before_the_first_call(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="FILEMAKER_CA_BUNDLE: the file does not exist"):
        DataApiClient("https://filemaker.clinic.example", "c", "a", "b", ca_bundle=tmp_path / "none.pem")


def test_every_code_has_a_sentence_that_says_what_to_do() -> None:
    for code, kind in BY_CODE.items():
        if kind is not NoRecordsMatch:
            assert error_for(code, "do something").remedy.endswith(".")
    assert isinstance(error_for(99999, "do something"), UnknownCode)


@pytest.mark.parametrize("code", [210, 211])
def test_an_account_that_cannot_log_in_whatever_its_password_is_told_from_a_wrong_password(code: int) -> None:
    error = error_for(code, "log in to clinic")
    assert isinstance(error, WrongPassword)  # and is not tried again
    assert "make the account active" in error.remedy


def _private_authority(folder: Path) -> tuple[Path, Path, Path]:
    """An authority, and a certificate of it for 127.0.0.1 with its key."""
    names = ("authority.pem", "authority.key", "server.pem", "server.key")
    authority, authority_key, certificate, key = (str(folder / name) for name in names)
    make = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    signed = ["-CA", authority, "-CAkey", authority_key, "-addext", "subjectAltName=IP:127.0.0.1"]
    leaf = ["-addext", "basicConstraints=critical,CA:FALSE"]
    signs = ["-addext", "keyUsage=critical,keyCertSign"]  # Python 3.13 takes no authority without it
    for command in (
        [*make, "-subj", "/CN=Test authority", *signs, "-keyout", authority_key, "-out", authority],
        [*make, "-subj", "/CN=server", *signed, *leaf, "-keyout", key, "-out", certificate],
    ):
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command
    return Path(authority), Path(certificate), Path(key)
