"""The pages of a DICOM job, asked without a browser."""

from __future__ import annotations

import csv
import io
import re
from functools import partial
from pathlib import Path

import requests

from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import is_led_to_wrong_words
from fm_pipeline_tests.support.waiting import wait_until

PAGE = "/settings/dicom"
ADDRESS = "203.0.113.30"  # from which the job is started and taken back
ASKS_AGAIN = 'hx-select="#job-files"'


def post(console: Console, session: requests.Session, address: str, **form: str) -> requests.Response:
    form |= console.token(session)
    return session.post(f"{console.url}{PAGE}{address}", data=form, timeout=60, allow_redirects=False)


def get(console: Console, session: requests.Session, path: str) -> requests.Response:
    return session.get(f"{console.url}{PAGE}{path}", timeout=60)


def status(console: Console, job_id: int) -> str:
    ((found,),) = console.bench.execute("SELECT status FROM fm_pipeline.import_jobs WHERE id = %s", job_id)
    return str(found)


def addresses_are_shown(console: Console, session: requests.Session, run_id: str, rows: int) -> bool:
    page = session.get(f"{console.url}/audit/?run_id={run_id}", timeout=60).text
    return page.count(ADDRESS) == rows


def started(console: Console, session: requests.Session, folder: Path) -> int:
    answer = post(console, session, "/start", path=str(folder), job_type="manual")
    assert answer.status_code == 302, answer.text
    return int(answer.headers["Location"].rsplit("/", 1)[-1])


def assert_it_starts_by_itself(console: Console, session: requests.Session, job_id: int) -> None:
    """The page of a job that has just been started."""
    page = get(console, session, f"/jobs/{job_id}").text
    assert [each for each in ('id="resume"', "Not begun yet") if each in page] == []
    assert ASKS_AGAIN in page or status(console, job_id) == "completed"


def assert_it_has_imported(console: Console, session: requests.Session, job_id: int, folder: Path) -> None:
    """The pages of a job that has imported the four files of its folder."""
    of_files = {"HX-Request": "true", "HX-Target": "job-files"}
    files = session.get(f"{console.url}{PAGE}/jobs/{job_id}", headers=of_files, timeout=60).text
    assert ("4 files. Paths" in files, ASKS_AGAIN in files) == (True, False)
    page = get(console, session, f"/jobs/{job_id}?outcome=imported").text
    assert re.search(r"4 files\. Paths", page)
    assert '<dt><a href="?outcome=imported#files">imported</a></dt><dd>4</dd>' in page
    assert "SECRET" not in page
    known = post(console, session, "/scan", path=str(folder), job_type="incremental").text
    assert "0 files to import" in known
    assert "4 files are as an earlier job recorded them" in known
    assert 'id="take-back"' in page
    assert f"Job {job_id}" not in get(console, session, "/live").text.partition("Last jobs")[0]

    listed = get(console, session, f"/jobs/{job_id}/remove/instances.csv")
    rows = list(csv.DictReader(io.StringIO(listed.text)))
    assert (len(rows), {row["removed_at"] for row in rows}) == (4, {""})
    words = f"remove 4 of job {job_id}"
    assert words in get(console, session, f"/jobs/{job_id}/remove").text
    assert_what_another_job_has_found_stays(console, session, job_id)
    wrong = post(console, session, f"/jobs/{job_id}/remove/start", confirm="remove")
    assert (wrong.status_code, is_led_to_wrong_words(wrong.text)) == (400, True)


def assert_what_another_job_has_found_stays(console: Console, session: requests.Session, job_id: int) -> None:
    """While a second job has the files, the page of the removal of the first one says why there is nothing."""
    ((other,),) = console.bench.execute(
        "INSERT INTO fm_pipeline.import_jobs (job_type, source_path, requested_by, status)"
        " VALUES ('manual', '/elsewhere', 'nobody', 'completed') RETURNING id"
    )
    console.bench.execute(
        "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, status, orthanc_instance_id)"
        " SELECT %s, file_path, file_name, path_hash, 'already_there', orthanc_instance_id"
        " FROM fm_pipeline.import_history WHERE job_id = %s",
        other,
        job_id,
    )
    page = get(console, session, f"/jobs/{job_id}/remove").text
    console.bench.execute("DELETE FROM fm_pipeline.import_history WHERE job_id = %s", other)
    console.bench.execute("DELETE FROM fm_pipeline.import_jobs WHERE id = %s", other)
    assert "There is nothing to take back: all that the job added stays, for the reasons above." in page
    assert f"job {other}</a>" in page


def assert_it_is_taken_back(console: Console, session: requests.Session, job_id: int) -> None:
    """The pages of that job after its files were taken back, and what the audit trail holds of it."""
    ended = (
        "SELECT requested_by, instances_deleted FROM fm_pipeline.import_removals"
        " WHERE job_id = %s AND completed_at IS NOT NULL"
    )
    wait_until(lambda: console.bench.execute(ended, job_id) == [("admin", 4)], 120)
    page = get(console, session, f"/jobs/{job_id}").text
    assert page.count(">taken back<") == 4
    assert ">taken back 4<" in page
    assert 'id="take-back"' not in page
    assert ">taken back 4<" in get(console, session, "/jobs").text
    nothing = get(console, session, f"/jobs/{job_id}/remove").text
    assert "There is nothing to take back: the job added no instance, or all that it added were taken back." in nothing
    rows = list(csv.DictReader(io.StringIO(get(console, session, f"/jobs/{job_id}/remove/instances.csv").text)))
    assert len([row for row in rows if row["removed_at"]]) == 4
    audit = console.bench.execute(
        "SELECT action, outcome FROM fm_pipeline.audit WHERE actor = 'admin' AND detail LIKE %s"
        " AND action IN ('download', 'dicom_set_aside') ORDER BY id",
        f"%import job {job_id}%",
    )
    assert audit == [("download", "done"), ("dicom_set_aside", "refused"), ("download", "done")]
    by_address = "SELECT action, outcome FROM fm_pipeline.audit WHERE address = %s ORDER BY id"
    assert [row for row in console.bench.execute(by_address, ADDRESS) if row[0] in ("dicom_scan", "launch")] == [
        ("dicom_scan", "done"),
        ("launch", "done"),
        ("dicom_scan", "done"),
        ("launch", "done"),
    ]
    for table, column in (("import_jobs", "id"), ("import_removals", "job_id")):
        select = f"SELECT run_id FROM fm_pipeline.{table} WHERE {column} = %s"  # noqa: S608  # of constants
        ((run_id,),) = console.bench.execute(select, job_id)
        wait_until(partial(addresses_are_shown, console, session, run_id, 3))  # launched, started, done
