"""Imports while Orthanc is down, full, busy, silent, or crashed by a file."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from fm_pipeline.dicom.history.jobs import Job
from fm_pipeline.dicom.importer.run_job import ImportFailed, ImportOptions
from fm_pipeline.dicom.orthanc import delivery
from fm_pipeline.dicom.orthanc.connection_pool import ConnectionPool, OrthancResponse
from fm_pipeline.dicom.orthanc.errors import FileRefused
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.dicom.bench import ImportBench
from fm_pipeline_tests.support.proxies.orthanc_proxy import (
    FORGET,
    HANG,
    Fault,
    OrthancProxy,
    answer,
)
from fm_pipeline_tests.support.scripted_http import like_orthanc, reply, scripted

FILES = 30


def at_upload(number: int, fault: Fault) -> Callable[[int], Fault | None]:
    return lambda upload: fault if upload == number else None


def from_upload(number: int, fault: Fault) -> Callable[[int], Fault | None]:
    return lambda upload: fault if upload >= number else None


def stopped(importing: ImportBench, **options: Any) -> Job:
    """The job after a run that had to stop."""
    with pytest.raises(ImportFailed) as failure:
        importing.imported(**options)
    job = failure.value.job
    assert (job.status, job.error_message is not None) == ("failed", True)
    return job


def resumed(importing: ImportBench, job: Job) -> None:
    """Run it again: then everything is in Orthanc once and on record once."""
    assert importing.run(job.id).status == "completed"
    ended = importing.outcomes(job.id)
    assert sum(ended.values()) == FILES
    assert set(ended) <= {"imported", "already_there"}
    assert importing.instances() == FILES


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (answer(401), "orthanc_login_refused"),
        (answer(403), "orthanc_right_missing"),
        (answer(500, 19), "orthanc_storage_full"),
        (answer(500, 14), "orthanc_storage_full"),
        (answer(507), "orthanc_storage_full"),
        (answer(404, 17), "orthanc_wrong_address"),
        (answer(405), "orthanc_right_missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.status}-{value.orthanc_status}",
)
@pytest.mark.hard_case(42)
@pytest.mark.usefixtures("both_ways")
def test_a_refusal_that_concerns_all_files_stops_the_job_at_once_and_no_file_is_marked_for_it(
    proxied: tuple[ImportBench, OrthancProxy], fault: Fault, reason: str
) -> None:
    importing, proxy = proxied
    proxy.fault = from_upload(10, fault)
    job = stopped(importing)
    assert job.error_reason == reason
    assert set(importing.outcomes(job.id)) == {"imported"}
    # each thread may have sent files together, and then one of them alone
    assert proxy.uploads <= 9 + 2 * ImportOptions().threads
    proxy.fault = lambda _: None
    resumed(importing, job)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (answer(400, 15), "orthanc_bad_file_format"),
        (answer(400, 3), "orthanc_out_of_range"),
        (answer(400, 5), "orthanc_bad_type"),
        (answer(404, 21), "orthanc_missing_tag"),
        (answer(400), "orthanc_refused"),
        (answer(404), "orthanc_refused"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.status}-{value.orthanc_status}",
)
@pytest.mark.hard_case(35)
@pytest.mark.usefixtures("alone")
def test_a_refusal_that_concerns_one_file_marks_that_file_and_nothing_stops(
    proxied: tuple[ImportBench, OrthancProxy], fault: Fault, reason: str
) -> None:
    importing, proxy = proxied
    proxy.fault = at_upload(5, fault)
    job = importing.imported()
    assert importing.outcomes(job.id) == {"imported": FILES - 1, "bad": 1}
    assert [row.reason for row in importing.rows(job.id).values() if row.status == "bad"] == [reason]


@pytest.mark.parametrize("status", [409, 502, 503, 504])
@pytest.mark.hard_case(42)
@pytest.mark.usefixtures("both_ways")
def test_a_busy_orthanc_is_asked_again_until_it_takes_the_file(
    proxied: tuple[ImportBench, OrthancProxy], status: int
) -> None:
    importing, proxy = proxied
    proxy.fault = lambda upload: answer(status, 36) if upload in {3, 4, 5, 6} else None
    assert importing.outcomes(importing.imported().id) == {"imported": FILES}


@pytest.mark.hard_case(42)
def test_a_busy_orthanc_that_stays_busy_stops_the_job(proxied: tuple[ImportBench, OrthancProxy]) -> None:
    importing, proxy = proxied
    proxy.fault = from_upload(10, answer(503))
    job = stopped(importing, patience_seconds=0.5)
    assert job.error_reason == "orthanc_unreachable"
    proxy.fault = lambda _: None
    resumed(importing, job)


@pytest.mark.hard_case(42)
@pytest.mark.usefixtures("alone")
def test_an_answer_that_never_comes_is_not_waited_for_and_the_file_is_sent_again(
    proxied: tuple[ImportBench, OrthancProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    importing, proxy = proxied
    ask, uploads = ConnectionPool.ask, itertools.count(1)

    def impatient(connections: ConnectionPool, method: str, path: str, *given: Any, **more: Any) -> OrthancResponse:
        if path == "/instances" and next(uploads) == 5:  # of one thread: the one that the proxy lets hang, and no other
            given = (*given[:2], 0.2)
        return ask(connections, method, path, *given, **more)

    monkeypatch.setattr(ConnectionPool, "ask", impatient)
    proxy.fault = at_upload(5, HANG)
    job = importing.imported(threads=1)
    assert importing.outcomes(job.id) == {"imported": FILES}
    assert proxy.uploads == FILES + 1


@pytest.mark.hard_case(42)
def test_a_file_that_always_ends_in_an_error_of_orthanc_fails_and_the_others_arrive(
    proxied: tuple[ImportBench, OrthancProxy],
) -> None:
    importing, proxy = proxied
    for path in list(importing.folder.iterdir())[1:]:
        path.unlink()
    proxy.fault = lambda _: answer(500, 1)
    job = importing.imported()
    assert {(row.status, row.reason) for row in importing.rows(job.id).values()} == {("failed", "orthanc_error")}
    assert proxy.uploads == 3


@pytest.mark.hard_case(42)
def test_a_file_that_was_stored_before_its_connection_was_closed_is_imported(
    both_ways: str, proxied: tuple[ImportBench, OrthancProxy]
) -> None:
    importing, proxy = proxied
    proxy.fault = at_upload(4, FORGET)
    job = importing.imported()
    assert importing.outcomes(job.id) == {"imported": FILES}
    again = [row for row in importing.rows(job.id).values() if row.sends == 2]
    # Files that were stored together are not sent again.
    assert len(again) in ({1} if both_ways == "alone" else {0, 1})
    assert importing.instances() == FILES


@pytest.mark.usefixtures("both_ways")
def test_files_that_orthanc_stores_when_their_answer_is_waited_for_no_longer_are_imported(
    proxied: tuple[ImportBench, OrthancProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    importing, proxy = proxied
    ask, uploads = ConnectionPool.ask, itertools.count(1)
    late: list[bytes] = []

    def impatient(connections: ConnectionPool, method: str, path: str, *given: Any, **more: Any) -> OrthancResponse:
        if path == "/instances" and next(uploads) == 4:
            given = (*given[:2], 0.2)
        return ask(connections, method, path, *given, **more)

    def hangs(content: bytes) -> Fault | None:
        if proxy.uploads == 4:
            late.append(content)
            return HANG
        if late:  # the next file is sent, and Orthanc has stored those before it by now
            request = late.pop()
            with importing.orthanc() as orthanc, suppress(FileRefused):  # the client expects one file, and not several
                orthanc.upload(request, len(request))
        return None

    monkeypatch.setattr(ConnectionPool, "ask", impatient)
    proxy.fault_of_content = hangs
    job = importing.imported(threads=1)
    assert importing.outcomes(job.id) == {"imported": FILES}
    assert importing.instances() == FILES


@pytest.mark.hard_case(42)
@pytest.mark.usefixtures("both_ways")
def test_answers_that_never_arrive_though_the_files_do_make_no_file_suspect(
    proxied: tuple[ImportBench, OrthancProxy],
) -> None:
    importing, proxy = proxied
    for path in list(importing.folder.iterdir())[5:]:
        path.unlink()
    proxy.fault = lambda _: FORGET
    job = importing.imported()
    assert importing.outcomes(job.id) == {"imported": 5}
    assert {row.sends for row in importing.rows(job.id).values()} <= {1, 2}


@pytest.mark.usefixtures("alone")
def test_a_proxys_limit_keeps_large_files_out_is_told_as_that_and_nothing_is_sent_in_vain(
    proxied: tuple[ImportBench, OrthancProxy],
) -> None:
    importing, proxy = proxied
    for number in range(4):
        (importing.folder / f"large {number}.dcm").write_bytes(as_file(image(f"large {number}", size=1 << 20)))
    proxy.most_bytes = 1 << 20
    job = stopped(importing, threads=1)
    assert job.error_reason == "too_large_for_proxy"
    for words in ("4 files could not be stored", "HTTP 413", "client_max_body_size", "1.00 MB"):
        assert words in (job.error_message or ""), job.error_message
    assert importing.outcomes(job.id) == {"failed": 4, "imported": FILES}
    assert {row.reason for row in importing.rows(job.id).values()} == {None, "too_large_for_proxy"}
    assert proxy.uploads == FILES + 1
    assert sum(row.sends for row in importing.rows(job.id).values()) == FILES + 1
    proxy.most_bytes = None
    assert importing.run(job.id).status == "completed"
    assert importing.outcomes(job.id) == {"imported": FILES + 4}
    assert importing.instances() == FILES + 4


PAGE = "<html><body>Hello</body></html>"


@pytest.mark.parametrize(
    ("path", "said", "reason"),
    [
        ("", reply(200, PAGE), "orthanc_wrong_address"),
        ("", reply(200, "[" * 100_000), "orthanc_wrong_address"),
        ("", reply(302, Location="https://login.example/"), "orthanc_redirects"),
        ("", b"220 mail.example ESMTP\r\n", "orthanc_wrong_address"),
        ("/tools/bulk-content", reply(200, PAGE), "orthanc_answer_unusable"),
        ("/tools/bulk-content", reply(404, PAGE), "orthanc_right_missing"),
        ("/instances", reply(200), "orthanc_answer_unusable"),
        ("/instances", reply(200, "[" * 100_000), "orthanc_answer_unusable"),
        ("/instances", reply(307, Location="/elsewhere"), "orthanc_redirects"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:15].decode(),
)
def test_a_job_that_meets_another_server_stops_at_once_with_its_reason(
    importing: ImportBench, path: str, said: bytes, reason: str
) -> None:
    write_series(importing.folder, 3, 2_000)
    orthanc = like_orthanc()
    with scripted(lambda request: said if request.path.startswith(path) else orthanc(request)) as server:
        settings = importing.settings.model_copy(update={"orthanc_url": f"http://127.0.0.1:{server.port}"})
        job = stopped(replace(importing, settings=settings))
    assert (job.error_reason, job.files_processed) == (reason, 0)
    assert "not foreseen" not in (job.error_message or "")


@pytest.mark.usefixtures("alone")
def test_an_orthanc_that_fails_for_one_file_after_the_other_stops_the_job(
    proxied: tuple[ImportBench, OrthancProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    importing, proxy = proxied
    monkeypatch.setattr(delivery, "_MOST_FAILURES", 2)
    monkeypatch.setattr(delivery, "_MOST_TRIES", 1)
    proxy.fault = from_upload(10, answer(500, 11))
    job = stopped(importing, threads=1)
    assert job.error_reason == "orthanc_keeps_failing"
    assert importing.outcomes(job.id) == {"imported": 9, "failed": 2}
    proxy.fault = lambda _: None
    resumed(importing, job)


def test_an_instance_that_another_client_sends_all_the_time_fails_and_the_others_arrive(
    proxied: tuple[ImportBench, OrthancProxy],
) -> None:
    importing, proxy = proxied
    for path in list(importing.folder.iterdir())[1:]:
        path.unlink()
    proxy.fault = lambda _: answer(409, 46)
    job = importing.imported()
    assert {(row.status, row.reason) for row in importing.rows(job.id).values()} == {("failed", "stored_by_another")}
    assert proxy.uploads == 3


def test_no_error_names_a_patient_or_a_file(proxied: tuple[ImportBench, OrthancProxy]) -> None:
    importing, proxy = proxied
    proxy.fault = from_upload(3, answer(500, 19))
    with pytest.raises(ImportFailed) as failure:
        importing.imported()
    for word in ("SANDBOX", "IM0000", importing.folder.name):
        assert word not in f"{failure.value} {failure.value.job.error_message}"


def test_an_error_that_nobody_foresaw_stops_the_job_without_its_text(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(importing.folder, 3, 2_000)

    def surprise(*_: object) -> None:
        raise ValueError("Doe^John")

    monkeypatch.setattr("fm_pipeline.dicom.importer.workers.read_candidate", surprise)
    job = stopped(importing)
    assert job.error_reason == "error"
    assert "ValueError" in (job.error_message or "")
    with pytest.raises(ImportFailed) as failure:
        importing.run(job.id)
    shown = "".join(traceback.format_exception(failure.value))
    assert "Doe" not in shown + (job.error_message or "")
    monkeypatch.undo()
    assert importing.run(job.id).files_imported == 3
