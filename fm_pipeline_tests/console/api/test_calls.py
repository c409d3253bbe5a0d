from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import requests

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.history.jobs import LOCK_CLASS
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.console.api import shapes
from fm_pipeline_tests.console.api.conftest import Caller
from fm_pipeline_tests.console.conftest import Console


def data(answer: requests.Response, shape: object, status: int = 200) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["success"] is True
    assert shapes.differences(body["data"], shape) == []
    content: dict[str, object] = body["data"]
    return content


def test_the_ten_calls_answer_field_by_field_as_the_hospitals_system_does(admin: Caller, folder: Path) -> None:
    path = {"path": str(folder)}
    scanned = data(admin.post("scan-directory", path), shapes.SCAN)
    assert (scanned["total_files"], scanned["file_list_complete"]) == (5, True)
    assert data(admin.post("scan-new-files.php", path), shapes.NEW_FILES)["new_files"] == 5

    started = admin.post("start-import.php", {"source_path": str(folder)})
    assert started.json()["message"] == "Import job created successfully"
    assert data(started, shapes.START)["job_type"] == "manual"
    job_id = started.json()["data"]["job_id"]
    assert data(admin.get("import-status", job_id=job_id), shapes.STATUS)["total_files"] == 5

    processed = admin.post("process-import", {"job_id": job_id})
    assert processed.json()["message"] == "Import job processed successfully"
    assert data(processed, shapes.PROCESS)["files_imported"] == 5
    status = data(admin.get("import-status.php", job_id=job_id), shapes.STATUS)
    assert (status["status"], status["progress_percentage"]) == ("completed", 100.0)
    new = data(admin.post("scan-new-files", path), shapes.NEW_FILES)
    assert (new["total_files"], new["new_files"], new["already_imported"]) == (5, 0, 5)

    history = data(admin.get("get-import-history", job_id=job_id, status="imported", limit=2), shapes.HISTORY)
    assert history["pagination"] == {"total": 5, "limit": 2, "offset": 0, "has_more": True}
    jobs = data(admin.get("list-jobs", status="completed", job_type="manual", limit=1), shapes.JOBS)
    assert jobs["jobs"][0]["id"] == job_id  # type: ignore[index]


def test_the_configuration_is_saved_and_read(admin: Caller, console: Console) -> None:
    body = {"hospital_data_path": str(console.hospital), "monitoring_enabled": False, "monitoring_interval": 45}
    (console.hospital / "there").mkdir(exist_ok=True)
    assert data(admin.post("configure-hospital-path", body), shapes.CONFIGURED) == body
    assert data(admin.get("get-configuration"), shapes.CONFIGURATION)["monitoring_interval"] == 45


def test_a_call_processes_a_batch_and_the_next_one_goes_on_until_nothing_is_left(admin: Caller, folder: Path) -> None:
    job_id = admin.started(folder, "initial")
    processed = []
    for _ in range(3):
        answer = admin.post("process-import", {"job_id": job_id, "batch_size": 2}).json()["data"]
        processed.append((answer["status"], answer["files_imported"]))
    assert processed == [("running", 2), ("running", 4), ("completed", 5)]
    with admin.console.bench.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT outcome FROM fm_pipeline.audit WHERE detail LIKE %s ORDER BY id", (f"Job {job_id}%",))
        assert cursor.fetchall() == [("started",), ("done",)]


def test_a_cancelled_job_is_not_gone_on_with_by_a_client_that_calls_again(admin: Caller, folder: Path) -> None:
    job_id = admin.started(folder)
    admin.post("process-import", {"job_id": job_id, "batch_size": 2})
    cancelled = admin.post("cancel-import.php", {"job_id": job_id})
    assert data(cancelled, shapes.CANCEL)["status"] == "cancelled"
    assert cancelled.json()["message"] == "Import job cancelled successfully"
    assert admin.post("process-import", {"job_id": job_id}).status_code == 409
    assert admin.post("cancel-import", {"job_id": job_id}).status_code == 409
    assert admin.get("import-status", job_id=job_id).json()["data"]["files_imported"] == 2


def test_a_job_that_dagster_works_on_is_not_processed_a_second_time(
    admin: Caller, console: Console, folder: Path
) -> None:
    job_id = admin.started(folder)
    with connect(console.bench.database_url) as elsewhere, elsewhere.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, job_id))
        assert admin.post("process-import", {"job_id": job_id}).status_code == 409
    assert admin.post("process-import", {"job_id": job_id}).json()["data"]["files_imported"] == 5


def test_files_that_cannot_be_imported_are_counted_by_the_hospitals_statuses(admin: Caller, folder: Path) -> None:
    (folder / "IM000000").rename(folder / "one")
    (folder / "copy").write_bytes((folder / "one").read_bytes())
    (folder / "cut").write_bytes((folder / "one").read_bytes()[:600])
    (folder / "note.txt").write_text("no image")
    job_id = admin.started(folder)
    answer = admin.post("process-import", {"job_id": job_id}).json()["data"]
    assert (answer["files_imported"], answer["duplicates"], answer["files_failed"]) == (5, 1, 1)
    assert [each["status"] for each in answer["errors"]] == ["bad"]
    for status, count in (("imported", 5), ("duplicate", 1), ("failed", 1), ("skipped", 1)):
        page = data(admin.get("get-import-history", job_id=job_id, status=status), {"pagination": shapes.PAGINATION})
        assert page["pagination"]["total"] == count, status  # type: ignore[index]


BAD_REQUESTS = [
    ("scan-directory", {}, 400),
    ("scan-directory", [], 400),
    ("scan-directory", {"path": 7}, 400),
    ("scan-directory", {"path": "C:\\Hospital\\DICOM\\Data"}, 400),
    ("scan-directory", {"path": "relative"}, 400),
    ("scan-directory", {"path": "/etc"}, 400),
    ("scan-directory", {"path": "/\0"}, 400),
    ("scan-directory", {"path": "/" + "x" * 5000}, 400),
    ("start-import", {"source_path": "/", "job_type": "all"}, 400),
    ("process-import", {"job_id": "1"}, 400),
    ("process-import", {"job_id": 1, "batch_size": 0}, 400),
    ("process-import", {"job_id": 2**63 - 1}, 404),
    ("process-import", {"job_id": 10**30}, 400),
    ("cancel-import", {"job_id": 2**62}, 404),
    ("configure-hospital-path", {"hospital_data_path": "/", "monitoring_interval": 1}, 400),
    ("configure-hospital-path", {"hospital_data_path": "/"}, 400),
    ("no-such-call", {}, 404),
    ("list-jobs", {}, 405),
]


@pytest.mark.parametrize(("name", "body", "status"), BAD_REQUESTS)
def test_a_wrong_request_is_answered_with_its_status_and_our_sentence(
    admin: Caller, name: str, body: object, status: int
) -> None:
    for suffix in ("", ".php"):
        answer = admin.post(name + suffix, body)
        assert answer.status_code == status, answer.text
        content = answer.json()
        assert (content["success"], content["error"]["code"]) == (False, status)
        assert content["message"]


def test_a_path_inside_the_root_that_leads_out_is_refused(admin: Caller, console: Console, tmp_path: Path) -> None:
    write_series(tmp_path / "elsewhere", 1, 2_000)
    link = console.hospital / f"link-{tmp_path.name}"
    os.symlink(tmp_path / "elsewhere", link)
    for path in (link, console.hospital / ".." / "elsewhere"):
        assert admin.post("start-import", {"source_path": str(path)}).status_code == 400


def test_only_an_admin_who_comes_from_our_own_page_may_call(console: Console, admin: Caller) -> None:
    nobody, viewer = Caller(console, console.session()), Caller(console, console.session("reception"))
    body = {"job_id": 2**62}
    for suffix in ("", ".php"):
        assert nobody.get(f"list-jobs{suffix}").status_code == 401
        assert nobody.post(f"cancel-import{suffix}", body).status_code == 401
        assert viewer.get(f"list-jobs{suffix}").status_code == 403
        assert viewer.post(f"cancel-import{suffix}", body).status_code == 403
        assert admin.post(f"cancel-import{suffix}", body, **{"X-CSRFToken": ""}).status_code == 403
        assert admin.post(f"cancel-import{suffix}", body, Origin="https://elsewhere.example").status_code == 403
        assert admin.post(f"cancel-import{suffix}", body).status_code == 404


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("dicom", 404), ("admin", 404)])
def test_a_machine_calls_with_a_token_of_the_scope_dicom(admin: Caller, scope: str, status: int) -> None:
    machine = admin.machine(scope)
    assert machine.post("cancel-import", {"job_id": 2**62}).status_code == status
    machine.session.headers["Authorization"] = "Bearer fmc_wrong"
    answer = machine.get("list-jobs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, 401)


def test_the_description_has_a_page_that_loads_nothing_from_elsewhere(admin: Caller, console: Console) -> None:
    page = admin.get("docs")
    assert (page.status_code, "https://" in page.text) == (200, False)
    for address in re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text):
        assert admin.session.get(console.url + address, timeout=30).status_code == 200
    assert admin.get("openapi.json").json()["paths"].keys() >= {"/api/sync/start-import"}
    assert console.session().get(f"{console.url}/api/sync/docs", allow_redirects=False, timeout=30).status_code == 302
