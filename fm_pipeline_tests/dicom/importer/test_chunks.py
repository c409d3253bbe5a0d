"""Jobs in chunks: several processes share one, and a chunk is written by the process that holds it alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.db.locks import try_lock
from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.errors import RootUnavailable
from fm_pipeline.dicom.history.chunk_ledger import ChunkLedger
from fm_pipeline.dicom.history.chunks import ChunkCounts, ClaimLost, chunk_counts, claim_chunk
from fm_pipeline.dicom.history.history_entry import HistoryEntry
from fm_pipeline.dicom.history.job_ledger import REMOVAL_LOCK, JobLedger, ScanTotals
from fm_pipeline.dicom.history.jobs import Job, request_cancel
from fm_pipeline.dicom.importer.cut import create_shared_job, cut
from fm_pipeline.dicom.importer.run_chunks import _heartbeat, run_chunks
from fm_pipeline.dicom.importer.run_job import ImportFailed, run_job
from fm_pipeline.dicom.model import FoundFile, Outcome
from fm_pipeline.dicom.scan.excluded_folders import KNOWN
from fm_pipeline.errors import RequestError
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.sandbox.dicom.traps import make_traps
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.dicom.importer import sharing
from fm_pipeline_tests.dicom.importer.kills import started
from fm_pipeline_tests.dicom.importer.sharing import TIMES
from fm_pipeline_tests.dicom.importer.test_run import Watching
from fm_pipeline_tests.support.orthanc import own_orthanc
from fm_pipeline_tests.support.waiting import InThread, wait_until


@pytest.fixture
def importing(importing: ImportBench) -> ImportBench:
    """The bench with an Orthanc that is known to keep the first file of an instance."""
    return replace(importing, settings=importing.settings.model_copy(update={"orthanc_never_overwrites": True}))


def shared_job(importing: ImportBench, chunk_files: int = 30, job_type: str = "initial") -> int:
    return create_shared_job(
        importing.url,
        str(importing.folder),
        job_type,  # type: ignore[arg-type]
        requested_by="test",
        excluded=KNOWN,
        chunk_files=chunk_files,
    ).id


def shared(importing: ImportBench, job_id: int, only: int | None = None) -> Job:
    return run_chunks(importing.settings, job_id, only=only, times=TIMES)


def counts(importing: ImportBench, job_id: int) -> ChunkCounts:
    with connect(importing.url) as connection, connection.cursor() as cursor:
        return chunk_counts(cursor, job_id, silent_seconds=TIMES.silent)


def write_folders(importing: ImportBench, folders: int, files: int) -> None:
    for number in range(folders):
        write_series(importing.folder / f"{number:02}", files, 2_000, name=f"s{number}", patient_id=f"P{number}")


def test_a_chunk_ends_with_a_directory_and_at_twice_its_size_at_the_latest() -> None:
    names = [f"/r/a/{n}" for n in range(5)] + [f"/r/b/{n}" for n in range(11)] + ["/r/c/0"]
    entries = [FoundFile(name, 10, 1, 1, 1, n) for n, name in enumerate(names)]
    assert [(paths[0], len(paths), size) for paths, size in cut(entries, 4, 1_000_000)] == [
        ("/r/a/0", 5, 50),
        ("/r/b/0", 8, 80),
        ("/r/b/8", 4, 40),
    ]
    assert [len(paths) for paths, _ in cut(entries, 100, 40)] == [5, 8, 4]


def test_a_job_in_chunks_ends_as_one_job_does(importing: ImportBench) -> None:
    traps = make_traps(importing.folder)
    job = shared(importing, shared_job(importing, 20))
    ended = {path: (Outcome(row.status), row.reason or "") for path, row in importing.rows(job.id).items()}
    assert set(ended) == {trap.path for trap in traps}
    expected = {trap.path: (trap.outcome, trap.reason) for trap in traps if not trap.twin}
    assert {path: ended[path] for path in expected} == expected
    assert importing.outcomes(job.id)["imported"] == importing.instances()
    assert (job.status, job.instances_missing, job.instances_differing) == ("completed", 0, 0)
    assert job.total_files == job.files_processed == len(traps)
    assert counts(importing, job.id).free == counts(importing, job.id).claimed == 0
    with pytest.raises(RequestError, match="completed"):
        shared(importing, job.id)


def test_a_killed_process_and_a_suspended_one_lose_their_chunks_to_the_others(
    database_url: str, tmp_path: Path
) -> None:
    with own_orthanc() as orthanc:
        migrate(database_url)
        settings = import_settings(database_url, orthanc.settings(), tmp_path / "state", orthanc_never_overwrites=True)
        importing = ImportBench(settings, tmp_path / "h")
        write_folders(importing, 12, 60)
        job_id = shared_job(importing, 50)
        with started(importing, "-m", sharing.__name__, str(job_id), "3", stdout=subprocess.PIPE) as processes:
            assert processes.stdout is not None
            killed, suspended, _ = (int(processes.stdout.readline()) for _ in range(3))
            wait_until(lambda: importing.job(job_id).files_processed > 60)
            os.kill(killed, signal.SIGKILL)
            os.kill(suspended, signal.SIGSTOP)
            try:
                wait_until(lambda: importing.job(job_id).status == "completed")
            finally:
                os.kill(suspended, signal.SIGCONT)
        job = importing.job(job_id)
        rows = importing.execute(
            "SELECT count(*), count(DISTINCT path_hash), count(DISTINCT orthanc_instance_id),"
            " count(*) FILTER (WHERE status IN ('imported', 'already_there')) FROM fm_pipeline.import_history"
        )
        assert rows == [(720, 720, 720, 720)]
        assert (job.status, job.files_processed, importing.instances()) == ("completed", 720, 720)
        assert (job.instances_expected, job.instances_missing) == (720, 0)


def test_a_process_that_has_lost_its_chunk_writes_nothing(importing: ImportBench) -> None:
    write_folders(importing, 1, 3)
    job_id = shared_job(importing)
    with JobLedger(importing.url, job_id, shared=True) as watch:
        watch.claim(None)
        old = watch.run(lambda cursor: claim_chunk(cursor, job_id))
        assert old is not None
        assert watch.run(lambda cursor: claim_chunk(cursor, job_id)) is None
        new = watch.run(lambda cursor: claim_chunk(cursor, job_id, silent_seconds=0))
        assert new is not None
        assert (new.number, new.fence) == (old.number, old.fence + 1)
    path = str(importing.folder / "00" / "IM000000")
    entry = HistoryEntry(path, Outcome.FAILED, "vanished", None, None, None)
    with ChunkLedger(importing.url, old) as late, ChunkLedger(importing.url, new) as holder:
        writes: list[Callable[[], Job]] = [
            lambda: late.write([entry], ScanTotals()),
            lambda: late.finish("completed"),
            lambda: late.finish("failed", "error", "It failed."),
            late.pause,
        ]
        for write in writes:
            with pytest.raises(ClaimLost, match=f"Chunk 1 of import job {job_id} was taken over"):
                write()
        assert importing.job(job_id).files_processed == 0
        holder.write([entry], ScanTotals())
        holder.finish("completed")
        holder.finish("completed")  # repeated, as after a lost connection
        with pytest.raises(ClaimLost):
            holder.write([entry], ScanTotals())
    assert importing.job(job_id).files_processed == 1


def test_a_cancelled_job_in_chunks_is_cancelled_for_every_process_and_can_be_resumed(importing: ImportBench) -> None:
    write_folders(importing, 8, 60)
    job_id = shared_job(importing, 60)
    other = InThread(lambda: shared(importing, job_id))
    wait_until(lambda: importing.job(job_id).status == "running")
    cancelling = Watching(1, lambda: request_cancel(importing.url, job_id))
    job = run_chunks(importing.settings, job_id, on_progress=cancelling, times=TIMES)
    assert (job.status, other.outcome().status) == ("cancelled", "cancelled")
    assert importing.instances() == importing.job(job_id).files_imported == len(importing.rows(job_id)) < 480
    assert counts(importing, job_id).claimed == 0
    job = shared(importing, job_id)
    assert (job.status, job.files_imported, importing.instances()) == ("completed", 480, 480)


def test_what_orthanc_has_lost_is_sent_again_when_the_job_is_resumed(importing: ImportBench) -> None:
    write_folders(importing, 2, 10)
    job_id = shared_job(importing, 10)
    with JobLedger(importing.url, job_id, shared=True) as watch:
        watch.claim(None)
    assert shared(importing, job_id, only=3).files_processed == 0  # the closing one, too early
    assert [shared(importing, job_id, only=number).files_processed for number in (1, 2)] == [10, 20]
    (lost,) = importing.execute("SELECT orthanc_instance_id FROM fm_pipeline.import_history LIMIT 1")
    with importing.orthanc() as orthanc:
        orthanc.delete_instance(lost[0])
    with pytest.raises(ImportFailed, match="does not have 1 instance"):
        shared(importing, job_id, only=3)
    assert importing.job(job_id).status == "failed"
    assert shared(importing, job_id).status == "completed"
    assert importing.instances() == 20


def test_a_host_whose_share_is_not_mounted_stops_alone_or_ends_the_job_as_the_last(importing: ImportBench) -> None:
    write_folders(importing, 2, 3)
    job_id = shared_job(importing, 3)
    with JobLedger(importing.url, job_id, shared=True) as watch:
        watch.claim(None)
        held = watch.run(lambda cursor: claim_chunk(cursor, job_id))
        assert held is not None
        shutil.move(importing.folder, importing.folder.with_name("elsewhere"))
        importing.folder.mkdir()  # a mount point
        with pytest.raises(ImportFailed, match="no file at all"):
            shared(importing, job_id)
        assert importing.job(job_id).status == "running"
        with ChunkLedger(importing.url, held) as ledger:
            ledger.pause()
        with pytest.raises(ImportFailed, match="no file at all"):
            shared(importing, job_id)
    assert importing.job(job_id).status == "failed"
    importing.folder.rmdir()
    shutil.move(importing.folder.with_name("elsewhere"), importing.folder)
    assert shared(importing, job_id).files_imported == 6


def test_an_incremental_job_in_chunks_has_only_new_files(importing: ImportBench) -> None:
    write_folders(importing, 2, 5)
    run_job(importing.settings, importing.new_job())
    write_series(importing.folder / "new", 5, 2_000, name="new")
    job = shared(importing, shared_job(importing, 3, "incremental"))
    assert (job.status, job.files_unchanged, job.total_files, job.files_imported) == ("completed", 10, 5, 5)
    nothing = shared(importing, shared_job(importing, 3, "incremental"))
    assert (nothing.status, nothing.files_unchanged, nothing.total_files) == ("completed", 15, 0)


def test_a_directory_that_cannot_be_listed_leaves_no_job_behind(importing: ImportBench) -> None:
    with pytest.raises(RootUnavailable, match="no file at all"):
        shared_job(importing)
    assert importing.execute("SELECT count(*) FROM fm_pipeline.import_jobs") == [(0,)]


def test_an_orthanc_that_overwrites_is_refused(database_url: str, tmp_path: Path) -> None:
    with own_orthanc(OverwriteInstances=True) as orthanc:
        migrate(database_url)
        folder = tmp_path / "h"
        write_series(folder, 1, 2_000)
        importing = ImportBench(import_settings(database_url, orthanc.settings(), tmp_path / "state"), folder)
        job_id = shared_job(importing)
        with pytest.raises(RequestError, match="Orthanc overwrites"):
            shared(importing, job_id)
    assert importing.job(job_id).status == "pending"


def test_a_heartbeat_that_does_not_get_its_locks_back_ends_with_a_warning(
    importing: ImportBench, caplog: pytest.LogCaptureFixture
) -> None:
    write_folders(importing, 1, 1)
    job_id = shared_job(importing)
    with (
        connect(importing.url) as removal,
        removal.cursor() as remover,
        JobLedger(importing.url, job_id, shared=True) as watch,
    ):
        watch.claim(None)
        chunk = watch.run(lambda cursor: claim_chunk(cursor, job_id))
        assert chunk is not None
        pid = watch.run(lambda cursor: cursor.connection.info.backend_pid)
        remover.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        assert try_lock(remover, REMOVAL_LOCK, until="session")
        with _heartbeat(watch, chunk, TIMES):
            wait_until(lambda: "The heartbeat of chunk 1 stops" in caplog.text)
    assert "being removed from Orthanc" in caplog.text
