"""What the check finds out about Orthanc, by servers that answer as others do."""

from __future__ import annotations

from pathlib import Path

import pytest

from fm_pipeline.entities.rules import load_rules
from fm_pipeline.preflight.finding import FindingBuilder
from fm_pipeline.preflight.orthanc import check_disk, check_orthanc
from fm_pipeline_tests.answers.clients import settings
from fm_pipeline_tests.support.scripted_http import SYSTEM, Answering, Request, like_orthanc, reply, scripted


def said_of(answering: Answering) -> dict[str, str]:
    """What is wrong with such an Orthanc, by rule."""
    with scripted(answering) as server:
        given = settings(orthanc_url=f"http://127.0.0.1:{server.port}")
        findings = list(check_orthanc(given, FindingBuilder(load_rules(), "DICOM")))
    assert all(each.remedy for each in findings if each.rule)
    return {each.rule: f"{each.subject}: {each.found} {each.remedy}" for each in findings if each.rule}


@pytest.mark.parametrize(
    ("upload", "words"),
    [
        (reply(403), "POST /instances is refused (HTTP 403)"),
        (reply(404, "<html>no</html>"), "POST /instances is refused (HTTP 404)"),
        (reply(405), "POST /instances is refused (HTTP 405)"),
        (reply(413), "HTTP 413"),
        (reply(411, "<html>no</html>"), "A proxy in front of Orthanc refused it"),
        (reply(200), "The answer to POST /instances is not one of Orthanc's"),
        (reply(301, Location="https://pacs.example/instances"), "sends on to https://pacs.example"),
        (reply(507, {"OrthancStatus": 19}), "storage is full"),
        (reply(502), "does not reach it (HTTP 502)"),
    ],
    ids=lambda value: value[:12].decode() if isinstance(value, bytes) else "",
)
def test_an_orthanc_that_would_take_no_file_is_told(upload: bytes, words: str) -> None:
    assert words in said_of(like_orthanc(upload))["orthanc_right_missing"]


@pytest.mark.parametrize(
    "said",
    [
        reply(200, "[" * 100_000),
        reply(200, "<html>Hello</html>"),
        reply(302, Location="/login"),
        b"SSH-2.0-x\r\n",
        None,
    ],
    ids=["deep", "page", "login", "ssh", "nothing"],
)
def test_whatever_answers_in_place_of_orthanc_is_one_line_of_the_check(said: bytes | None) -> None:
    told = said_of(lambda _: said)
    assert list(told) == ["orthanc_unreachable"]
    assert "not foreseen" not in str(told)


def test_a_read_only_orthanc_is_told() -> None:
    told = said_of(like_orthanc(reply(405), system=SYSTEM | {"ReadOnly": True}))
    assert "read-only" in told["orthanc_right_missing"]


def test_a_proxy_that_lets_only_small_files_through_is_told_with_its_setting() -> None:
    def answering(request: Request) -> bytes | None:
        too_large = request.path == "/instances" and len(request.body) > 1_000_000
        return reply(413, "<html>Too large</html>") if too_large else like_orthanc()(request)

    told = said_of(answering)["orthanc_right_missing"]
    for words in ("HTTP 413", "16.00 MB", "client_max_body_size"):
        assert words in told


@pytest.mark.parametrize("path", ["/tools/bulk-content", "/attachments/dicom/md5", "/metadata/TransferSyntax", "/file"])
def test_each_path_that_an_import_asks_for_is_tried(path: str) -> None:
    def answering(request: Request) -> bytes | None:
        return reply(403) if request.path.endswith(path) else like_orthanc()(request)

    assert f"{path} is refused (HTTP 403)" in said_of(answering)["orthanc_right_missing"]


def test_an_orthanc_near_one_of_its_limits_is_told_and_what_it_does_beyond() -> None:
    held = {"CountInstances": 9, "CountPatients": 9, "TotalDiskSize": str(95 << 20)}
    for system, words in (
        ({"MaximumStorageSize": 100}, "95.00 MB of 9 patients; MaximumStorageSize is 100 MB; beyond, it deletes"),
        ({"MaximumStorageSize": 100, "MaximumStorageMode": "Reject"}, "beyond, it refuses what is new"),
        ({"MaximumPatientCount": 10, "MaximumStorageSize": 1000}, "; MaximumPatientCount is 10; beyond"),
        ({"MaximumPatientCount": 11, "MaximumStorageSize": 106}, ""),
        ({}, ""),
    ):
        told = said_of(like_orthanc(system=SYSTEM | system, statistics=held))
        assert words in told.get("orthanc_nearly_full", "")
        assert bool(words) == ("orthanc_nearly_full" in told)


def test_an_orthanc_that_will_delete_patients_at_its_limit_is_told_before_it_is_near() -> None:
    limited = {"MaximumStorageMode": "Recycle", "MaximumStorageSize": 1000, "MaximumPatientCount": 0}
    for system, words in (
        (limited, "0 B of 0 patients; MaximumStorageSize is 1,000 MB"),
        (limited | {"MaximumPatientCount": 7}, "MaximumStorageSize is 1,000 MB and MaximumPatientCount is 7"),
        (limited | {"MaximumStorageMode": "Reject"}, ""),
        (limited | {"MaximumStorageSize": 0}, ""),
    ):
        told = said_of(like_orthanc(system=SYSTEM | system))
        assert words in told.get("orthanc_recycles", "")
        assert bool(words) == ("orthanc_recycles" in told)


def test_the_disk_of_orthanc_is_looked_at_where_this_machine_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = FindingBuilder(load_rules(), "DICOM")
    assert list(check_disk(str(tmp_path / "on another machine"), judge)) == []
    (disk,) = check_disk(str(tmp_path), judge)
    assert disk.found.endswith(" are free")
    monkeypatch.setattr("fm_pipeline.preflight.orthanc.LITTLE_ROOM", 1.1)
    (full,) = check_disk(str(tmp_path), judge)
    assert (full.rule, str(tmp_path) in full.found) == ("orthanc_nearly_full", False)
