"""The DICOM pages, on a running console with a real Orthanc."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest

from fm_pipeline.dicom.reasons import sentence
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.dicom_job import get, post, started, status
from fm_pipeline_tests.support.orthanc import need_orthanc
from fm_pipeline_tests.support.waiting import wait_until


@pytest.fixture
def folder(console: Console) -> Path:
    """A folder with four instances that Orthanc has never had."""
    need_orthanc()
    name = uuid.uuid4().hex
    folder = console.hospital / name
    write_series(folder, 4, 2_000, name=name, patient_id=f"SECRET-{name}")
    return folder


def test_a_job_that_was_cancelled_before_its_run_began_stays_cancelled_until_it_is_resumed(
    console: Console, folder: Path
) -> None:
    session = console.session("admin")
    job_id = started(console, session, folder)
    assert post(console, session, f"/jobs/{job_id}/cancel").status_code in (302, 400)  # it may have ended already
    wait_until(lambda: status(console, job_id) in ("cancelled", "completed"), 120)
    if status(console, job_id) == "cancelled":
        assert post(console, session, f"/jobs/{job_id}/resume").status_code == 302
        wait_until(lambda: status(console, job_id) == "completed", 120)
    assert post(console, session, f"/jobs/{job_id}/resume").status_code == 409


def test_the_lists_have_filters_and_wrong_values_do_not_break_them(console: Console) -> None:
    session = console.session("admin")
    for query in ("", "?status=failed&page=2", "?status=none&job_type=x&page=-1", "?page=99999999999999999999"):
        assert get(console, session, f"/jobs{query}").status_code == 200
    assert get(console, session, "/jobs/999999999").status_code == 404
    assert get(console, session, "/jobs/99999999999999999999999").status_code == 404
    for name in ("files.csv", "remove", "remove/instances.csv"):
        assert get(console, session, f"/jobs/999999999/{name}").status_code == 404


def test_an_administrator_confirms_beside_the_flag_that_names_are_of_one_person(console: Console) -> None:
    patient_id = f"SECRET-{uuid.uuid4().hex}"
    ((job_id,),) = console.bench.execute(
        "INSERT INTO fm_pipeline.import_jobs (job_type, source_path, requested_by, status)"
        " VALUES ('manual', '/elsewhere', 'nobody', 'completed') RETURNING id"
    )
    ((row,),) = console.bench.execute(
        "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, status, patient_id, flags)"
        " VALUES (%s, '/1', '1', gen_random_uuid(), 'imported', %s, '{patient_id_with_another_name}') RETURNING id",
        job_id,
        patient_id,
    )
    button = "It is one person"
    viewer, session = console.session("reception"), console.session("admin")
    assert button not in get(console, viewer, f"/jobs/{job_id}").text
    assert post(console, viewer, f"/jobs/{job_id}/one-person", row=str(row)).status_code == 403
    assert get(console, viewer, f"/jobs/{job_id}/one-person?row={row}").status_code == 403
    assert button in get(console, session, f"/jobs/{job_id}").text
    for wrong in ("", "x", "9" * 18, "9" * 5000):
        assert post(console, session, f"/jobs/{job_id}/one-person", row=wrong).status_code == 404
        assert get(console, session, f"/jobs/{job_id}/one-person?row={wrong}").status_code == 404
    asked = get(console, session, f"/jobs/{job_id}/one-person?row={row}").text
    assert re.search(r"have the flag, in all jobs</dt><dd>1</dd>", asked)
    assert f'<a class="button quiet" href="/settings/dicom/jobs/{job_id}">Not now</a>' in asked
    assert patient_id not in asked
    flags = "SELECT flags FROM fm_pipeline.import_history WHERE id = %s"
    assert console.bench.execute(flags, row) == [(["patient_id_with_another_name"],)], "it was only counted"
    assert post(console, session, f"/jobs/{job_id}/one-person", row=str(row), persons="9").status_code == 409
    assert post(console, session, f"/jobs/{job_id}/one-person", row=str(row), persons="0").status_code == 302
    page = get(console, session, f"/jobs/{job_id}").text
    console.bench.execute("DELETE FROM fm_pipeline.import_history WHERE id = %s", row)
    console.bench.execute("DELETE FROM fm_pipeline.import_jobs WHERE id = %s", job_id)
    assert ("The flag was removed from 1 row." in page, button in page, patient_id in page) == (True, False, False)


def test_a_directory_outside_the_allowed_roots_is_refused(console: Console) -> None:
    session = console.session("admin")
    session.headers["X-Forwarded-For"] = "203.0.113.31"
    for path in ("/etc", "relative", "C:\\Hospital"):
        for action in ("/start", "/scan"):
            answer = post(console, session, action, path=path, job_type="manual")
            assert answer.status_code == 400
            assert "Nothing was read" in answer.text
            assert f'value="{path}"' in answer.text, "the form keeps what was typed"
    refused = "SELECT action, outcome FROM fm_pipeline.audit WHERE address = '203.0.113.31' ORDER BY id"
    assert console.bench.execute(refused) == [("dicom_import", "refused"), ("dicom_scan", "refused")] * 3


def test_the_configuration_is_changed_by_a_form(console: Console) -> None:
    session = console.session("admin")
    (console.hospital / "there").mkdir(exist_ok=True)
    fields = {
        "hospital_data_path": str(console.hospital),
        **{"monitoring_interval": "50", "quiet_period": "60", "files_per_job": "5000", "sync_interval": "43200"},
        **{"ftp_port": "21", "ftp_path": "/", "ftp_passive": "on", "ftp_security": "tls", "ftp_folder": "ftp"},
    }
    assert post(console, session, "/configuration", **fields).status_code == 302
    assert 'value="50"' in get(console, session, "/configuration").text
    for name, wrong in (("monitoring_interval", "1"), ("ftp_port", "x"), ("ftp_folder", "../.."), ("ftp_security", "")):
        answer = post(console, session, "/configuration", **fields | {name: wrong})
        assert (answer.status_code, 'role="alert" tabindex="-1" autofocus' in answer.text) == (400, True), name
    assert 'value="50"' in get(console, session, "/configuration").text


def test_a_viewer_sees_the_pages_and_changes_nothing(console: Console, folder: Path) -> None:
    admin, viewer = console.session("admin"), console.session("reception")
    body, headers = {"source_path": str(folder)}, {"X-CSRFToken": admin.cookies["fm_console_csrf"]}
    made = admin.post(f"{console.url}/api/sync/start-import", json=body, headers=headers, timeout=60)
    job_id = made.json()["data"]["job_id"]
    for path in ("", "/live", "/jobs", f"/jobs/{job_id}", f"/jobs/{job_id}/remove", "/configuration"):
        page = get(console, viewer, path)
        assert page.status_code == 200, path
        assert set(re.findall(r"<button[^>]*>([^<]*)", page.text)) <= {"Log out", "Menu", "Show"}, path
    for path in (f"/jobs/{job_id}/files.csv", f"/jobs/{job_id}/remove/instances.csv"):
        assert get(console, viewer, path).status_code == 403
    of_job = [f"/jobs/{job_id}/{name}" for name in ("cancel", "resume", "remove/start")]
    for path in ("/start", "/scan", "/configuration", *of_job):
        assert post(console, viewer, path, path=str(folder), confirm="x").status_code == 403
    assert status(console, job_id) == "pending"


def test_the_page_of_a_job_says_why_nothing_is_new_what_stays_and_that_a_cancel_came_too_late(console: Console) -> None:
    bench, session = console.bench, console.session("admin")
    path, instance = str(console.hospital), uuid.uuid4().hex
    rows = bench.execute(
        "INSERT INTO fm_pipeline.import_jobs (job_type, source_path, status, requested_by, files_unchanged,"
        " cancel_requested_at, completed_at)"
        " VALUES ('manual', %s, 'completed', 'admin', 0, now(), now()),"
        " ('incremental', %s, 'completed', 'admin', 1, NULL, now()), ('manual', %s, 'pending', 'admin', 0, NULL, NULL)"
        " RETURNING id",
        *(path, path, path),
    )
    late, nothing_new, waiting = ids = sorted(job_id for (job_id,) in rows)
    bench.execute(
        "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, status, orthanc_instance_id,"
        " reason, file_hash, other_hash) VALUES (%s, '/a', 'a', gen_random_uuid(), 'imported', %s, NULL, NULL, NULL),"
        " (%s, '/a', 'a', gen_random_uuid(), 'conflict', %s, 'other_content', 'hash-of-file', 'hash-there'),"
        " (%s, '/b', 'b', gen_random_uuid(), 'conflict', %s, 'other_content', 'hash-of-file', 'hash-there')",
        *(late, instance, nothing_new, instance, nothing_new, instance),
    )
    try:
        page = get(console, session, f"/jobs/{late}").text
        assert "It was cancelled too late" in page
        assert f'found again by <a href="/settings/dicom/jobs/{nothing_new}">job {nothing_new}</a>' in page
        assert 'id="take-back"' not in page
        removal = get(console, session, f"/jobs/{late}/remove").text
        assert f'found them too: <a href="/settings/dicom/jobs/{nothing_new}">' in removal
        page = get(console, session, f"/jobs/{nothing_new}").text
        assert ("There was nothing new" in page, "It was cancelled too late" in page) == (True, False)
        assert "1 file is as an earlier job recorded it, and was not opened." in page
        assert re.search("hash-of-file.*hash-there", page, re.DOTALL)
        assert page.count(sentence("other_content")) == 1, "it stands above the files"
        assert '<span class="badge ">waiting</span>' in get(console, session, f"/jobs/{waiting}").text
        form = get(console, session, "").text
        assert '<option value="incremental" selected>incremental: new or changed' in form
        assert f'last imported by <a href="/settings/dicom/jobs/{nothing_new}">' in form
    finally:
        bench.execute("DELETE FROM fm_pipeline.import_history WHERE job_id = ANY(%s)", ids)
        bench.execute("DELETE FROM fm_pipeline.import_jobs WHERE id = ANY(%s)", ids)
