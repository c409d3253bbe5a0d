"""Jobs and history as their callers see them: pages, filters, cancelling, and what pruning never takes."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.history.history import list_history, prune_history
from fm_pipeline.dicom.history.job_ledger import JobLedger
from fm_pipeline.dicom.history.jobs import LOCK_CLASS, create_job, get_job, list_jobs, request_cancel
from fm_pipeline.errors import LockStop, RequestError


def new_job(url: str, path: str = "/hospital") -> int:
    return create_job(url, path, "initial", requested_by="test").id


def execute(url: str, statement: str, *values: object) -> None:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        connection.commit()


def row(url: str, job_id: int, path: str, status: str, file_hash: str | None, *, days_ago: int = 0) -> None:
    path_hash = uuid.UUID(bytes=hashlib.blake2b(path.encode(), digest_size=16).digest())
    execute(
        url,
        "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, file_size_bytes, file_hash,"
        " status, imported_at) VALUES (%s, %s, %s, %s, 10, %s, %s, %s)",
        job_id,
        path,
        path,
        str(path_hash),
        file_hash,
        status,
        datetime.now(UTC) - timedelta(days=days_ago),
    )
    counted = f"files_{status} = files_{status} + 1, size_processed_bytes = size_processed_bytes + 10"
    execute(url, f"UPDATE fm_pipeline.import_jobs SET {counted} WHERE id = %s", job_id)  # noqa: S608


@contextmanager
def somebody_working_on(url: str, job_id: int) -> Iterator[None]:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, job_id))
        yield


@pytest.mark.parametrize("below", ["below", "e\u0301"], ids=ascii)
@pytest.mark.hard_case(39)
def test_a_job_for_a_directory_above_is_noticed_whatever_the_names_are(ledger: str, below: str) -> None:
    above = "/hospital/\u0e17\u0e35\u0e48"  # Thai, whose vowel signs are marks that nothing composes
    theirs, mine = new_job(ledger, above), new_job(ledger, f"{above}/{below}")
    with (
        somebody_working_on(ledger, theirs),
        JobLedger(ledger, mine) as job_ledger,
        pytest.raises(LockStop, match="one above or one below"),
    ):
        job_ledger.claim(None)


def test_jobs_are_listed_newest_first_in_pages_that_say_whether_more_follow(ledger: str) -> None:
    ids = [new_job(ledger) for _ in range(3)]
    create_job(ledger, "/hospital", "manual", requested_by="test")
    page = list_jobs(ledger, limit=2, job_type="initial")
    assert [job.id for job in page.jobs] == [ids[2], ids[1]]
    assert (page.total, page.has_more) == (3, True)
    assert not list_jobs(ledger, limit=2, offset=2, job_type="initial").has_more
    assert list_jobs(ledger, status="running").total == 0


@pytest.mark.parametrize(
    "question",
    [{"limit": 0}, {"limit": 101}, {"offset": -1}, {"status": "gone"}, {"job_type": "x' OR 'a'='a"}],
    ids=str,
)
def test_a_page_that_cannot_be_is_refused(ledger: str, question: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        list_jobs(ledger, **question)  # type: ignore[arg-type]


def test_a_job_that_is_not_there_is_told_as_such(ledger: str) -> None:
    for call in (get_job, request_cancel):
        with pytest.raises(RequestError, match="no import job 7") as refused:
            call(ledger, 7)
        assert refused.value.code == 404


def test_a_pending_job_is_cancelled_at_once_and_a_running_one_by_whoever_runs_it(ledger: str) -> None:
    pending, running, killed = (new_job(ledger) for _ in range(3))
    assert request_cancel(ledger, pending).status == "cancelled"
    execute(ledger, "UPDATE fm_pipeline.import_jobs SET status = 'running' WHERE id <> %s", pending)
    with somebody_working_on(ledger, running):
        asked = request_cancel(ledger, running)
        assert (asked.status, asked.cancel_requested_at is not None) == ("running", True)
        assert request_cancel(ledger, killed).status == "cancelled"
    with pytest.raises(RequestError, match="is cancelled"):
        request_cancel(ledger, pending)


def test_history_has_pages_filters_and_statistics_of_the_job(ledger: str) -> None:
    one, other = new_job(ledger), new_job(ledger)
    for number, status in enumerate(("imported", "imported", "bad", "duplicate")):
        row(ledger, one, f"/hospital/{number}", status, f"{number:032}")
    row(ledger, other, "/hospital/x", "skipped", None)
    page = list_history(ledger, job_id=one, status="imported", limit=1)
    assert [found.file_name for found in page.history] == ["/hospital/1"]
    assert (page.total, page.has_more, page.history[0].job_type) == (2, True, "initial")
    assert {name: count for name, count in page.statistics.outcomes.items() if count} == {
        "imported": 2,
        "bad": 1,
        "duplicate": 1,
    }
    assert (page.statistics.total, page.statistics.total_size_bytes) == (4, 40)
    assert list_history(ledger).statistics.total == 5
    with pytest.raises(RequestError):
        list_history(ledger, limit=1001)
    with pytest.raises(RequestError):
        list_history(ledger, status="gone")


def test_pruning_takes_old_rows_that_a_newer_one_repeats_and_never_what_recognises_a_duplicate(ledger: str) -> None:
    old, new = new_job(ledger), new_job(ledger)
    execute(ledger, "UPDATE fm_pipeline.import_jobs SET status = 'completed'")
    for path, content in (("/repeated", "a"), ("/changed", "b"), ("/only once", "c")):
        row(ledger, old, path, "imported", content, days_ago=400)
    row(ledger, old, "/not a file of DICOM", "skipped", None, days_ago=400)
    row(ledger, new, "/repeated", "already_there", "a")
    row(ledger, new, "/changed", "imported", "b2")
    row(ledger, new, "/not a file of DICOM", "skipped", None)
    year_ago = datetime.now(UTC) - timedelta(days=365)
    assert prune_history(ledger, year_ago) == 2
    assert list_history(ledger).total == 7
    assert prune_history(ledger, year_ago, dry_run=False) == 2
    page = list_history(ledger)
    assert (page.total, page.statistics.total, page.has_more) == (7, 7, False), "as the jobs have counted"
    left = [(found.file_path, found.file_hash) for found in page.history]
    assert sorted(left, key=str) == [
        ("/changed", "b"),
        ("/changed", "b2"),
        ("/not a file of DICOM", None),
        ("/only once", "c"),
        ("/repeated", "a"),
    ]
    assert prune_history(ledger, year_ago, dry_run=False) == 0


def test_a_job_that_is_not_finished_keeps_its_history(ledger: str) -> None:
    unfinished, new = new_job(ledger), new_job(ledger)
    row(ledger, unfinished, "/repeated", "imported", "a", days_ago=400)
    row(ledger, new, "/repeated", "already_there", "a")
    assert prune_history(ledger, datetime.now(UTC), dry_run=False) == 0


@pytest.mark.hard_case(39)
def test_a_path_that_is_no_utf_8_is_kept_as_text_that_can_be_turned_back(ledger: str) -> None:
    job = create_job(ledger, "/hospital/\udcff\n", "manual", requested_by="test", files=["/hospital/\udcff\n/a"])
    assert get_job(ledger, job.id).source_path == "/hospital/%FF%0A"
