"""An Orthanc that goes down, is full, dies of a file, or keeps other bytes than it was sent."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fm_pipeline.dicom.history.jobs import Job
from fm_pipeline.dicom.importer.run_job import ImportFailed, run_job
from fm_pipeline.dicom.model import DEEPEST_SAFE_NESTING
from fm_pipeline.dicom.orthanc.delivery import PATIENCE_SECONDS
from fm_pipeline.sandbox.dicom.instances import as_file, image, nested
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.dicom.importer.test_faults import FILES, resumed, stopped
from fm_pipeline_tests.support.orthanc import OwnOrthanc, own_orthanc
from fm_pipeline_tests.support.proxies.orthanc_proxy import (
    MARK,
    marked_file,
    orthanc_proxy,
)


@contextmanager
def with_own_orthanc(ledger: str, tmp_path: Path, **options: Any) -> Iterator[tuple[ImportBench, OwnOrthanc]]:
    """An import into an Orthanc that the test may stop."""
    with own_orthanc(**options) as orthanc:
        folder = tmp_path / "hospital"
        folder.mkdir()
        yield ImportBench(import_settings(ledger, orthanc.settings(), tmp_path / "state"), folder), orthanc


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
def test_as_long_as_orthanc_is_waited_for_progress_and_row_say_so_and_no_time_is_estimated(
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
@pytest.mark.usefixtures("both_ways")
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
