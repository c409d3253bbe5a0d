"""The DICOM pages, on a running console with a real Orthanc."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest

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
