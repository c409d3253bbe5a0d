"""Responses of servers at ORTHANC_URL: each one ends the request at once, with an error of its own."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fm_pipeline.dicom.orthanc import connection_pool
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.errors import (
    AnswerTimedOut,
    BehindProxyGone,
    FileNotTaken,
    FileRefused,
    NotOrthanc,
    OrthancBusy,
    OrthancError,
    OrthancRefusedConnection,
    OrthancStop,
    OrthancUnreachable,
    StoredByAnother,
    TlsFault,
    UnusableAnswer,
)
from fm_pipeline.errors import SettingsError
from fm_pipeline_tests.dicom.bench import import_settings
from fm_pipeline_tests.support.answering import connections
from fm_pipeline_tests.support.scripted_http import (
    STATISTICS,
    SYSTEM,
    Answering,
    Request,
    like_orthanc,
    reply,
    scripted,
)
from fm_pipeline_tests.support.tls import make_certificate

PAGE = "<!DOCTYPE html><html><body>Not here.</body></html>"
SOON = 20.0  # seconds; far below what is waited for a server that is away


def always(said: bytes | None) -> Answering:
    return lambda _: said


def asked(answering: Answering, username: str = "") -> OrthancError:
    """What a question to such a server ends in, which must be soon."""
    begun = time.monotonic()
    with (
        scripted(answering) as server,
        Orthanc(f"http://127.0.0.1:{server.port}", username) as orthanc,
        pytest.raises(OrthancError) as raised,
    ):
        orthanc.system()
    assert time.monotonic() - begun < SOON
    return raised.value


def sent(answering: Answering, content: bytes = b"content") -> OrthancError:
    """What an upload to such a server ends in."""
    with (
        scripted(answering) as server,
        Orthanc(f"http://127.0.0.1:{server.port}") as orthanc,
        pytest.raises(OrthancError) as raised,
    ):
        orthanc.upload(content, len(content))
    return raised.value


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (reply(200, PAGE), "orthanc_wrong_address"),
        (reply(200, {"status": "ok", "Version": 5}), "orthanc_wrong_address"),
        (reply(200, ["1.12.7"]), "orthanc_wrong_address"),
        (reply(200, "[" * 100_000), "orthanc_wrong_address"),
        (reply(200, '{"a":' * 20_000), "orthanc_wrong_address"),
        (reply(200, b"1" * 10_000), "orthanc_wrong_address"),
        (reply(200, b"\xff\xfe\x00"), "orthanc_wrong_address"),
        (reply(200), "orthanc_wrong_address"),
        (reply(204), "orthanc_wrong_address"),
        (reply(404), "orthanc_wrong_address"),
        (reply(404, PAGE), "orthanc_wrong_address"),
        (reply(404, {"OrthancStatus": 17}), "orthanc_wrong_address"),
        (reply(405, PAGE), "orthanc_wrong_address"),
        (reply(400, PAGE), "orthanc_wrong_address"),
        (reply(418, PAGE), "orthanc_wrong_address"),
        (reply(301, Location="https://orthanc.example/system"), "orthanc_redirects"),
        (reply(302, Location="/system"), "orthanc_redirects"),
        (reply(307), "orthanc_redirects"),
        (reply(401), "orthanc_login_refused"),
        (reply(403, PAGE), "orthanc_login_refused"),
        (reply(407), "orthanc_login_refused"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "orthanc_wrong_address"),
        (b"220 mail.example ESMTP\r\n", "orthanc_wrong_address"),
        (b"HTTP/3.0 200 OK\r\n\r\n", "orthanc_wrong_address"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "orthanc_wrong_address"),
        (reply(200, b"no gzip", Content_Encoding="gzip"), "orthanc_answer_unusable"),
        (reply(200, b"packed", Content_Encoding="br"), "orthanc_answer_unusable"),
    ],
    ids=lambda value: value[:40].decode("latin-1").split("\r")[0] if isinstance(value, bytes) else value,
)
def test_what_answers_in_place_of_orthanc_is_told_at_once(said: bytes, reason: str) -> None:
    fault = asked(always(said))
    assert isinstance(fault, OrthancStop)
    assert (fault.reason, bool(fault.what), bool(fault.remedy)) == (reason, True, True)


def test_a_redirect_is_not_followed_and_its_origin_alone_is_named() -> None:
    fault = asked(always(reply(301, Location="https://pacs.example:8443/system?name=SURNAME")))
    assert "sends on to https://pacs.example:8443 (HTTP 301)" in fault.what
    assert "SURNAME" not in str(fault)
    assert "another path of the same server" in asked(always(reply(302, Location="javascript:alert(1)"))).what


def test_a_missing_login_is_told_as_that() -> None:
    assert "Set ORTHANC_USERNAME" in asked(always(reply(401))).remedy
    assert "Check ORTHANC_USERNAME" in asked(always(reply(401)), username="user").remedy


@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        (reply(400, {"OrthancStatus": 15}), FileRefused, "orthanc_bad_file_format"),
        (reply(400, {"OrthancStatus": 3}), FileRefused, "orthanc_out_of_range"),
        (reply(404, {"OrthancStatus": 21}), FileRefused, "orthanc_missing_tag"),
        (reply(500, {"OrthancStatus": 2}), FileRefused, "orthanc_not_supported"),
        (reply(400), FileRefused, "orthanc_refused"),
        (reply(404), FileRefused, "orthanc_refused"),
        (reply(200, []), FileRefused, "taken_for_archive"),
        (reply(400, PAGE), FileNotTaken, "proxy_refused"),
        (reply(406, PAGE), FileNotTaken, "proxy_refused"),
        (reply(411, PAGE), FileNotTaken, "proxy_refused"),
        (reply(413), FileNotTaken, "too_large_for_proxy"),
        (reply(413, PAGE), FileNotTaken, "too_large_for_proxy"),
        (reply(500, {"OrthancStatus": 2031}), FileNotTaken, "orthanc_filter_error"),
        (reply(401), OrthancStop, "orthanc_login_refused"),
        (reply(403), OrthancStop, "orthanc_right_missing"),
        (reply(403, PAGE), OrthancStop, "orthanc_right_missing"),
        (reply(404, PAGE), OrthancStop, "orthanc_right_missing"),
        (reply(405), OrthancStop, "orthanc_right_missing"),
        (reply(404, {"OrthancStatus": 17}), OrthancStop, "orthanc_wrong_address"),
        (reply(308, Location="https://pacs.example/instances"), OrthancStop, "orthanc_redirects"),
        (reply(200), OrthancStop, "orthanc_answer_unusable"),
        (reply(200, PAGE), OrthancStop, "orthanc_answer_unusable"),
        (reply(200, {"Status": "Success"}), OrthancStop, "orthanc_answer_unusable"),
        (reply(200, {"Status": "Wonderful", "ID": "1"}), OrthancStop, "orthanc_answer_unusable"),
        (reply(202), OrthancStop, "orthanc_answer_unusable"),
        (reply(500, {"OrthancStatus": 14}), OrthancStop, "orthanc_storage_full"),
        (reply(500, {"OrthancStatus": 2001}), OrthancStop, "orthanc_storage_full"),
        (reply(507), OrthancStop, "orthanc_storage_full"),
        (reply(409, {"OrthancStatus": 46}), StoredByAnother, ""),
        (reply(429, PAGE), OrthancBusy, ""),
        (reply(503, {"OrthancStatus": 36}), OrthancBusy, ""),
        (reply(502, PAGE), BehindProxyGone, ""),
        (reply(504, PAGE), AnswerTimedOut, ""),
        (reply(408), AnswerTimedOut, ""),
        (reply(500), OrthancUnreachable, ""),
        (reply(500, {"OrthancStatus": 11}), OrthancUnreachable, ""),
        (reply(200, {"Status": "Failure"}), OrthancUnreachable, ""),
    ],
    ids=lambda value: " ".join(value.decode("latin-1").split("\r\n\r\n"))[9:60] if isinstance(value, bytes) else "",
)
def test_what_is_said_to_an_upload_has_its_own_outcome(said: bytes, kind: type[OrthancError], reason: str) -> None:
    fault = sent(like_orthanc(said))
    assert isinstance(fault, kind)
    assert getattr(fault, "reason", "") == reason


def test_a_read_only_orthanc_is_told_as_that() -> None:
    fault = sent(like_orthanc(reply(405), system=SYSTEM | {"ReadOnly": True}))
    assert (getattr(fault, "reason", ""), "ReadOnly" in fault.remedy) == ("orthanc_read_only", True)


def full(system: Mapping[str, Any], statistics: Mapping[str, Any], body: Mapping[str, Any] | None = None) -> str:
    said = reply(507, {"OrthancStatus": 19, **(body or {})})
    fault = sent(
        like_orthanc(said, system={**SYSTEM, **system}, statistics={**STATISTICS, **statistics}), b"0" * (2 << 20)
    )
    return str(getattr(fault, "reason", ""))


def test_a_full_storage_a_file_that_never_fits_and_too_many_patients_are_three_things() -> None:
    rejects = {"MaximumStorageMode": "Reject"}
    nearly = {"TotalDiskSize": str(99 << 20)}
    assert full({"MaximumStorageSize": 1}, {}) == "too_large_for_orthanc"
    assert full(rejects | {"MaximumStorageSize": 100}, nearly) == "orthanc_storage_full"
    assert full(rejects | {"MaximumPatientCount": 7}, {"CountPatients": 7}) == "orthanc_patient_limit"
    assert full(rejects | {"MaximumPatientCount": 7}, {"CountPatients": 6}) == "orthanc_storage_full"
    assert full({"MaximumStorageSize": "many", "MaximumPatientCount": -1}, {"CountPatients": None}) == (
        "orthanc_storage_full"
    )
    details = {"Details": "Cannot store an instance of size 3145954 bytes in a storage area limited to 1048576"}
    assert full({}, {}, details) == "too_large_for_orthanc"  # 1.10.1, which tells no limits


@pytest.mark.parametrize(
    "rows",
    [{}, [1], [{"Type": "Instance"}], [{"Type": "Instance", "ID": "1", "FileSize": "many"}], "[" * 100_000, PAGE],
)
def test_a_list_of_instances_that_is_none_is_not_taken_for_an_empty_one(rows: str) -> None:
    def answering(request: Request) -> bytes | None:
        return reply(200, rows) if request.path == "/tools/bulk-content" else like_orthanc()(request)

    with (
        scripted(answering) as server,
        Orthanc(f"http://127.0.0.1:{server.port}") as orthanc,
        pytest.raises(OrthancStop, match="POST /tools/bulk-content"),
    ):
        orthanc.sizes(["1"])


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (reply(404, PAGE), "orthanc_right_missing"),
        (reply(403), "orthanc_right_missing"),
        (reply(200, PAGE), "orthanc_answer_unusable"),
        (reply(200), "orthanc_answer_unusable"),
    ],
)
def test_a_path_that_a_proxy_does_not_let_through_is_not_an_instance_that_is_missing(said: bytes, reason: str) -> None:
    def answering(request: Request) -> bytes | None:
        return said if request.path.endswith("/md5") else like_orthanc()(request)

    with (
        scripted(answering) as server,
        Orthanc(f"http://127.0.0.1:{server.port}") as orthanc,
        pytest.raises(OrthancStop) as stopped,
    ):
        orthanc.md5("1")
    assert stopped.value.reason == reason


def _in_members(content: bytes) -> bytes:
    return gzip.compress(content[:5]) + gzip.compress(content[5:]) + b"\0" * 9


@pytest.mark.parametrize(
    ("name", "packed"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("gzip", _in_members)],
    ids=["gzip", "deflate", "members of gzip, and filling"],
)
def test_an_answer_that_a_proxy_has_packed_is_unpacked_also_a_file(name: str, packed: Callable[[bytes], bytes]) -> None:
    content = b"content" * 1_000_000
    system = reply(200, packed(json.dumps(SYSTEM).encode()), Content_Encoding=name)
    file = reply(200, packed(content), Content_Encoding=name)

    def answering(request: Request) -> bytes | None:
        if request.path.endswith("/md5"):
            return reply(404)
        return system if request.path == "/system" else file

    with scripted(answering) as server, Orthanc(f"http://127.0.0.1:{server.port}") as orthanc:
        assert orthanc.system() == SYSTEM
        assert orthanc.md5("1") == hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_an_answer_that_drips_ends_with_the_time_out_however_long_it_goes_on() -> None:
    over = threading.Event()

    def drips(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.recv(1 << 16)
            for byte in itertools.cycle(b"HTTP/1.1 200 OK\r\nA: "):
                connection.sendall(bytes([byte]))
                if over.wait(0.02):
                    return

    with connections(drips) as port:
        begun = time.monotonic()
        try:
            with Orthanc(f"http://127.0.0.1:{port}", timeout_seconds=0.3) as orthanc, pytest.raises(AnswerTimedOut):
                orthanc.system()
        finally:
            over.set()
    assert time.monotonic() - begun < SOON


def test_an_answer_that_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_pool, "_LONGEST_RESPONSE", 1_000)
    fault = asked(always(reply(200, b"0" * 2_000)))
    assert (type(fault), getattr(fault, "reason", "")) == (UnusableAnswer, "orthanc_answer_unusable")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_a_certificate_of_an_authority_of_ones_own_is_trusted_where_its_bundle_is_set(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    given = import_settings("postgresql://nobody@127.0.0.1:1/none", {}, tmp_path)

    def look(host: str, bundle: Path | None) -> object:
        url = f"https://{host}:{server.port}"
        settings = given.model_copy(update={"orthanc_url": url, "orthanc_ca_bundle": bundle})
        with Orthanc.from_settings(settings) as orthanc:
            return orthanc.system()

    with scripted(like_orthanc(), tls=certificate) as server:
        with pytest.raises(TlsFault, match=r"not signed by an authority that is trusted.* ORTHANC_CA_BUNDLE"):
            look("127.0.0.1", None)
        assert look("127.0.0.1", certificate[0]) == SYSTEM
        with pytest.raises(TlsFault, match="for another name than the one in ORTHANC_URL"):
            look("localhost", certificate[0])


@pytest.mark.parametrize("bundle", ["missing.pem", "empty.pem", "text.pem", ""])
def test_a_bundle_that_cannot_be_read_is_told_with_its_setting(bundle: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "text.pem").write_text("no certificate", "utf-8")
    settings = import_settings("postgresql://nobody@127.0.0.1:1/none", {}, tmp_path)
    more = {"orthanc_url": "https://127.0.0.1:1", "orthanc_ca_bundle": tmp_path / bundle}
    with pytest.raises(SettingsError, match="ORTHANC_CA_BUNDLE"):
        Orthanc.from_settings(settings.model_copy(update=more))


@pytest.mark.parametrize("answering", [like_orthanc(), always(None), always(reply(400, PAGE))])
def test_http_to_a_port_of_https_is_told_at_once(certificate: tuple[Path, Path], answering: Answering) -> None:
    with (
        scripted(answering, tls=certificate) as server,
        Orthanc(f"http://127.0.0.1:{server.port}") as orthanc,
        pytest.raises(TlsFault, match="speaks https"),
    ):
        orthanc.system()


@pytest.mark.parametrize("answering", [like_orthanc(), always(reply(400, PAGE))])
def test_https_to_a_port_of_http_is_told_at_once(answering: Answering) -> None:
    with (
        scripted(answering) as server,
        Orthanc(f"https://127.0.0.1:{server.port}") as orthanc,
        pytest.raises(OrthancError) as raised,
    ):
        orthanc.system()
    assert isinstance(raised.value, TlsFault)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://user:secret@orthanc.example", "ORTHANC_USERNAME"),
        ("http://orthanc.example/?a=b", "question mark"),
        ("http://orthanc.example/#/", "question mark"),
    ],
)
def test_an_address_that_says_more_than_an_address_is_refused_without_repeating_it(
    address: str, said: str, tmp_path: Path
) -> None:
    settings = import_settings("postgresql://nobody@127.0.0.1:1/none", {}, tmp_path)
    with pytest.raises(SettingsError, match=said) as refused:
        Orthanc.from_settings(settings.model_copy(update={"orthanc_url": address}))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("host", ["no host", "no\thost", "a..b", "x" * 70 + ".example", "ü\u3002"])
def test_a_name_that_no_server_can_have_is_no_surprise(host: str) -> None:
    with Orthanc(f"http://{host}:1", timeout_seconds=1) as orthanc, pytest.raises(OrthancRefusedConnection):
        orthanc.system()


def test_a_path_before_orthancs_own_may_have_any_letters() -> None:
    with (
        scripted(like_orthanc()) as server,
        Orthanc(f"http://127.0.0.1:{server.port}/röntgen archiv/") as orthanc,
        pytest.raises(NotOrthanc),
    ):
        orthanc.system()
    assert server.requests[0].path == "/r%C3%B6ntgen%20archiv/system"


def test_a_version_tells_whether_it_overwrites_or_does_not_tell() -> None:
    for said, overwrites in (
        ({"OverwriteInstances": True}, True),
        ({"OverwriteInstances": False}, False),
        ({"OverwriteInstances": False, "OverwriteInstancesMode": "IfChanged"}, True),
        ({"OverwriteInstances": False, "OverwriteInstancesMode": "Never"}, False),
        ({}, None),
    ):
        told = {"ApiVersion": 16, "Version": "1.10.1"} | said
        with scripted(like_orthanc(system=told)) as server, Orthanc(f"http://127.0.0.1:{server.port}") as orthanc:
            assert orthanc.overwrites() is overwrites
