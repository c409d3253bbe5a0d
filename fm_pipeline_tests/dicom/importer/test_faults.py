"""Imports while Orthanc is down, full, busy, silent, or crashed by a file."""

from __future__ import annotations

import itertools
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fm_pipeline.dicom.history.jobs import Job
from fm_pipeline.dicom.importer.run_job import ImportFailed, ImportOptions, run_job
from fm_pipeline.dicom.model import DEEPEST_SAFE_NESTING
from fm_pipeline.dicom.orthanc import delivery
from fm_pipeline.dicom.orthanc.connection_pool import ConnectionPool, OrthancResponse
from fm_pipeline.dicom.orthanc.delivery import PATIENCE_SECONDS
from fm_pipeline.sandbox.dicom.instances import as_file, image, nested
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.support.orthanc import OwnOrthanc, own_orthanc
from fm_pipeline_tests.support.orthanc_proxy import (
    FORGET,
    HANG,
    MARK,
    Fault,
    OrthancProxy,
    answer,
    marked_file,
    orthanc_proxy,
)
from fm_pipeline_tests.support.scripted_http import like_orthanc, reply, scripted

FILES = 30


@pytest.fixture
def proxied(importing: ImportBench) -> Iterator[tuple[ImportBench, OrthancProxy]]:
    """An import whose way to Orthanc leads through a proxy with faults, and a folder of files.

    It waits for an answer as long as is usual: a file that is answered late would be sent again and be there already.
    """
    write_series(importing.folder, FILES, 2_000)
    assert importing.settings.orthanc_url is not None
    with orthanc_proxy(importing.settings.orthanc_url) as proxy:
        settings = importing.settings.model_copy(update={"orthanc_url": proxy.url})
        yield replace(importing, settings=settings), proxy


@contextmanager
def with_own_orthanc(ledger: str, tmp_path: Path, **options: Any) -> Iterator[tuple[ImportBench, OwnOrthanc]]:
    """An import into an Orthanc that the test may stop."""
    with own_orthanc(**options) as orthanc:
        folder = tmp_path / "hospital"
        folder.mkdir()
        yield ImportBench(import_settings(ledger, orthanc.settings(), tmp_path / "state"), folder), orthanc


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
def test_a_refusal_that_concerns_all_files_stops_the_job_at_once_and_no_file_is_marked_for_it(
    proxied: tuple[ImportBench, OrthancProxy], fault: Fault, reason: str
) -> None:
    importing, proxy = proxied
    proxy.fault = from_upload(10, fault)
    job = stopped(importing)
    assert job.error_reason == reason
    assert set(importing.outcomes(job.id)) == {"imported"}
    assert proxy.uploads <= 9 + ImportOptions().threads
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
def test_a_connection_that_is_closed_after_the_file_was_stored_ends_as_already_there(
    proxied: tuple[ImportBench, OrthancProxy],
) -> None:
    importing, proxy = proxied
    proxy.fault = at_upload(4, FORGET)
    job = importing.imported()
    assert importing.outcomes(job.id) == {"imported": FILES - 1, "already_there": 1}
    assert sorted(row.sends for row in importing.rows(job.id).values())[-2:] == [1, 2]
    assert importing.instances() == FILES


@pytest.mark.hard_case(42)
def test_answers_that_never_arrive_though_the_files_do_make_no_file_suspect(
    proxied: tuple[ImportBench, OrthancProxy],
) -> None:
    importing, proxy = proxied
    for path in list(importing.folder.iterdir())[5:]:
        path.unlink()
    proxy.fault = lambda _: FORGET
    job = importing.imported()
    assert importing.outcomes(job.id) == {"already_there": 5}
    assert {row.sends for row in importing.rows(job.id).values()} == {2}


@pytest.mark.hard_case(42)
def test_an_orthanc_that_is_down_at_the_start_is_waited_for_then_the_job_fails_and_can_be_resumed(
    ledger: str, tmp_path: Path
) -> None:
    with with_own_orthanc(ledger, tmp_path) as (importing, orthanc):
        write_series(importing.folder, FILES, 2_000)
        orthanc.kill()
        job = stopped(importing, patience_seconds=0.5)
        assert (job.error_reason, job.files_processed) == ("orthanc_unreachable", 0)
        orthanc.start()
        resumed(importing, job)


def seconds_of_the_day(clock: str) -> int:
    hours, minutes, seconds = map(int, clock.split(":"))
    return hours * 3_600 + minutes * 60 + seconds


@pytest.mark.parametrize("phase", ["import", "compare with Orthanc"])
@pytest.mark.hard_case(42)
def test_as_long_as_orthanc_is_waited_for_progress_and_row_say_so_and_no_time_is_foretold(
    ledger: str, tmp_path: Path, phase: str
) -> None:
    with with_own_orthanc(ledger, tmp_path) as (importing, orthanc):
        write_series(importing.folder, FILES, 2_000)
        job_id = importing.new_job()
        waiting: list[Job] = []
        notes: set[str] = set()
        last: list[str] = []
        kill_at = {"import": 0, "compare with Orthanc": FILES}[phase]
        killed: list[str] = []

        def on_progress(name: str, done: int, total: int | None = None, *, errors: int = 0, note: str = "") -> None:
            if not killed and done == kill_at:
                killed.append(name)
                orthanc.kill()
            last[:] = [note]
            if name == phase and note:
                notes.add(note)
                waiting.append(importing.job(job_id))
                if len(waiting) == 2:
                    orthanc.start()

        if kill_at == 0:
            on_progress("begin", 0)
        job = run_job(importing.settings, job_id, on_progress=on_progress)
        assert len(notes) >= 1
        zone = ZoneInfo(importing.settings.clinic_time_zone)
        for note in notes:
            found = re.match(r"Orthanc has not answered since (\S+)\. The job waits for it until (\S+); then", note)
            assert found
            since, until = (seconds_of_the_day(text) for text in found.groups())
            # The clinic's clock may be set by whole hours meanwhile.
            assert (until - since) % 3_600 == PATIENCE_SECONDS
            assert (seconds_of_the_day(f"{datetime.now(zone):%H:%M:%S}") - since) % 86_400 < 3 * 3_600
        assert last == [""]
        assert {(each.status, each.error_reason) for each in waiting} == {("running", "waiting_for_orthanc")}
        assert {each.error_message for each in waiting} <= notes
        assert {each.estimated_seconds_remaining for each in waiting} == {None}
        assert (job.status, job.error_reason, job.error_message) == ("completed", None, None)
        assert importing.outcomes(job_id) == {"imported": FILES}


@pytest.mark.hard_case(42)
def test_an_orthanc_that_is_killed_in_mid_job_and_comes_back_has_everything_once(ledger: str, tmp_path: Path) -> None:
    with with_own_orthanc(ledger, tmp_path) as (importing, orthanc):
        write_series(importing.folder, 400, 2_000)
        starters: list[threading.Thread] = []

        def on_progress(name: str, done: int, total: int | None = None, *, errors: int = 0, note: str = "") -> None:
            if done and not starters:
                orthanc.kill()
                starters.append(threading.Thread(target=orthanc.start))
                starters[0].start()

        job = run_job(importing.settings, importing.new_job(), on_progress=on_progress)
        starters[0].join()
        ended = importing.outcomes(job.id)
        assert (job.status, sum(ended.values()), importing.instances()) == ("completed", 400, 400)
        assert set(ended) <= {"imported", "already_there"}


@contextmanager
def restarted_when_it_dies(orthanc: OwnOrthanc) -> Iterator[None]:
    """As systemd does."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            if orthanc.process is None:
                orthanc.start()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def ended_by_a_marked_file(
    ledger: str, tmp_path: Path, *, tells: bool = False
) -> Iterator[tuple[ImportBench, OwnOrthanc, list[int]]]:
    """An import into an Orthanc behind a proxy that ends it when a marked file passes; the list grows each time.

    Args:
        tells: the proxy answers 502 for it, else it closes the connection.
    """
    ended: list[int] = []
    with with_own_orthanc(ledger, tmp_path) as (importing, orthanc):

        def ends_orthanc(content: bytes) -> bool:
            if MARK.encode() not in content:
                return False
            orthanc.kill()
            ended.append(1)
            return True

        with orthanc_proxy(lambda: orthanc.settings()["ORTHANC_URL"]) as proxy:
            proxy.ends_orthanc, proxy.tells_the_end = ends_orthanc, tells
            settings = importing.settings.model_copy(update={"orthanc_url": proxy.url})
            yield replace(importing, settings=settings), orthanc, ended


@pytest.mark.parametrize("tells", [False, True], ids=["closed", "502"])
@pytest.mark.hard_case(36)
def test_a_file_that_ends_orthanc_is_sent_twice_at_most_and_everything_beside_it_arrives(
    ledger: str, tmp_path: Path, tells: bool
) -> None:
    with (
        ended_by_a_marked_file(ledger, tmp_path, tells=tells) as (importing, orthanc, ended),
        restarted_when_it_dies(orthanc),
    ):
        write_series(importing.folder, FILES, 2_000)
        marked = importing.folder / "IM000010-marked"
        marked.write_bytes(marked_file())
        job = importing.imported()
        assert importing.outcomes(job.id).keys() <= {"imported", "already_there", "suspect"}
        row = importing.rows(job.id)[str(marked)]
        assert (row.status, row.reason, row.sends, len(ended)) == ("suspect", "kills_orthanc", 2, 2)
        assert (job.files_suspect, importing.instances()) == (1, FILES)


@pytest.mark.hard_case(36)
def test_by_default_a_file_that_is_nested_too_deep_is_not_even_sent(importing: ImportBench) -> None:
    write_series(importing.folder, 3, 2_000)
    (importing.folder / "nested.dcm").write_bytes(as_file(nested(DEEPEST_SAFE_NESTING + 1)))
    job = importing.imported()
    assert importing.outcomes(job.id) == {"imported": 3, "suspect": 1}
    assert importing.instances() == 3


@pytest.mark.hard_case(42)
def test_patients_that_orthanc_deletes_for_its_limit_are_found_by_the_comparison(ledger: str, tmp_path: Path) -> None:
    with with_own_orthanc(ledger, tmp_path, MaximumPatientCount=1) as (importing, _):
        write_series(importing.folder / "1", 4, 2_000, name="one", patient_id="ONE")
        write_series(importing.folder / "2", 4, 2_000, name="other", patient_id="OTHER")
        job = stopped(importing, threads=1)
        assert (job.error_reason, job.instances_expected, job.instances_missing) == ("missing_in_orthanc", 8, 4)
        gone = [row for row in importing.rows(job.id).values() if row.missing_since]
        assert len({row.patient_id for row in gone}) == 1
        assert len(gone) == 4


@pytest.mark.hard_case(42)
def test_a_file_larger_than_orthancs_storage_is_sent_once_and_keeps_no_other_out(ledger: str, tmp_path: Path) -> None:
    with with_own_orthanc(ledger, tmp_path, MaximumStorageSize=1) as (importing, _):
        (importing.folder / "a large one.dcm").write_bytes(as_file(image("large", size=3 << 20)))
        (importing.folder / "b small one.dcm").write_bytes(as_file(image("small")))
        job = stopped(importing, threads=1)
        assert job.error_reason == "too_large_for_orthanc"
        assert "MaximumStorageSize" in (job.error_message or "")
        assert importing.outcomes(job.id) == {"failed": 1, "imported": 1}
        assert {(row.reason, row.sends) for row in importing.rows(job.id).values()} == {
            ("too_large_for_orthanc", 1),
            (None, 1),
        }


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


@pytest.mark.hard_case(37)
def test_nothing_is_overwritten_in_an_orthanc_that_would_let_it(ledger: str, tmp_path: Path) -> None:
    with with_own_orthanc(ledger, tmp_path, OverwriteInstances=True) as (importing, _):
        one, other = image("same"), image("same")
        other.InstanceNumber = 99
        with importing.orthanc() as orthanc:  # somebody else's, of which the ledger knows nothing
            content = as_file(one)
            held = orthanc.upload(content, len(content)).instance_id
            before = orthanc.md5(held)
            (importing.folder / "other.dcm").write_bytes(as_file(other))
            assert importing.outcomes(importing.imported().id) == {"conflict": 1}
            assert orthanc.md5(held) == before


@pytest.mark.hard_case(37)
def test_what_orthanc_lost_and_got_from_elsewhere_with_other_bytes_is_a_conflict(ledger: str, tmp_path: Path) -> None:
    """The ledger's word that Orthanc took the bytes is over once Orthanc was found without them."""
    with with_own_orthanc(ledger, tmp_path, MaximumPatientCount=1) as (importing, _):
        (importing.folder / "1.dcm").write_bytes(as_file(image("same", patient_id="ONE")))
        importing.imported()
        (importing.folder / "2.dcm").write_bytes(as_file(image("other", patient_id="OTHER")))
        lost = stopped(importing)
        assert (lost.error_reason, lost.instances_missing) == ("missing_in_orthanc", 1)
        other = image("same", patient_id="ONE")
        other.InstanceNumber = 99
        (importing.folder / "2.dcm").unlink()
        with importing.orthanc() as orthanc:
            orthanc.upload(as_file(other), len(as_file(other)))
        for _ in range(2):  # the comparison after the first finds an instance of this id, and is not misled by it
            job = importing.imported()
            assert importing.outcomes(job.id) == {"conflict": 1}


def test_no_error_names_a_patient_or_a_file(proxied: tuple[ImportBench, OrthancProxy]) -> None:
    importing, proxy = proxied
    proxy.fault = from_upload(3, answer(500, 19))
    with pytest.raises(ImportFailed) as failure:
        importing.imported()
    for word in ("SANDBOX", "IM0000", importing.folder.name):
        assert word not in f"{failure.value} {failure.value.job.error_message}"


@pytest.mark.hard_case(36)
def test_a_file_that_was_sent_without_an_answer_is_sent_alone_when_the_job_is_resumed(
    ledger: str, tmp_path: Path
) -> None:
    with ended_by_a_marked_file(ledger, tmp_path) as (importing, orthanc, ended):
        marked = importing.folder / "marked.dcm"
        marked.write_bytes(marked_file())
        with pytest.raises(ImportFailed):
            importing.imported(patience_seconds=0.5)
        job = importing.job(1)
        row = importing.rows(job.id)[str(marked)]
        assert (row.status, row.reason, row.sends) == ("failed", "no_answer", 1)
        orthanc.start()
        with restarted_when_it_dies(orthanc):
            importing.run(job.id)
            row = importing.rows(job.id)[str(marked)]
        assert (row.status, row.reason, row.sends, len(ended)) == ("suspect", "kills_orthanc", 2, 2)
        again = importing.imported("manual")
        assert (again.files_suspect, importing.rows(again.id)[str(marked)].sends) == (1, 0)
        with restarted_when_it_dies(orthanc):  # only who asks for it has it sent again
            asked = importing.imported("manual", retry_suspects=True)
        assert importing.rows(asked.id)[str(marked)].sends > 0


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


@pytest.mark.hard_case(37)
def test_what_orthanc_has_converted_itself_is_a_conflict_that_says_so_when_the_ledger_does_not_know_it(
    ledger: str, tmp_path: Path
) -> None:
    explicit = str(ExplicitVRLittleEndian)
    with with_own_orthanc(ledger, tmp_path, IngestTranscoding=explicit) as (importing, _):
        path = importing.folder / "implicit.dcm"
        path.write_bytes(as_file(image("implicit"), ImplicitVRLittleEndian))
        first = importing.imported()
        assert importing.outcomes(first.id) == {"imported": 1}
        assert importing.outcomes(importing.imported().id) == {"already_there": 1}
        importing.execute("TRUNCATE fm_pipeline.import_jobs CASCADE")  # as after a kill before the row was written
        row = importing.rows(importing.imported().id)[str(path)]
        assert (row.status, row.reason) == ("conflict", "other_transfer_syntax")
        assert "IngestTranscoding" in (row.error_message or "")
        assert importing.instances() == 1
