"""`fm-pipeline dicom import` against a real Orthanc."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from fm_pipeline.cli.main import main
from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.api.remove_import import plan_removal, remove_import
from fm_pipeline.dicom.api.requests import cancel_import, carry_out, prepare_import
from fm_pipeline.dicom.configuration.configuration import configure
from fm_pipeline.dicom.history.job_ledger import JobLedger
from fm_pipeline.dicom.history.jobs import SENSOR, create_job, get_job
from fm_pipeline.dicom.importer.cut import create_shared_job
from fm_pipeline.dicom.log import log_file
from fm_pipeline.dicom.scan.excluded_folders import KNOWN
from fm_pipeline.errors import RequestError
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.settings import Settings
from fm_pipeline_tests.support.dicom import dicom_settings, environment_of
from fm_pipeline_tests.support.orthanc import emptied, need_orthanc, own_orthanc
from fm_pipeline_tests.support.proxies.orthanc_proxy import busy_from, orthanc_proxy
from fm_pipeline_tests.support.services import LazyStack
from fm_pipeline_tests.support.waiting import wait_until

PATIENCE_SECONDS = 60


@pytest.fixture
def orthanc(stack: LazyStack) -> OrthancService:
    need_orthanc()
    return emptied(stack.orthanc)


@pytest.fixture
def settings(database_url: str, tmp_path: Path, orthanc: OrthancService) -> Settings:
    migrate(database_url)
    names = {name.lower(): value for name, value in orthanc.settings().items()}
    return dicom_settings(database_url, tmp_path, **names)


def run(settings: Settings, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["dicom", *words], env=environment_of(settings) | {"COLUMNS": "80"})
    return result.exit_code, result.output


def stored(orthanc: OrthancService) -> int:
    given = orthanc.settings()
    login = (given["ORTHANC_USERNAME"], given["ORTHANC_PASSWORD"])
    count = requests.get(f"{given['ORTHANC_URL']}/statistics", auth=login, timeout=30).json()["CountInstances"]
    return int(count)


def audit(settings: Settings) -> list[tuple[Any, ...]]:
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT action, outcome FROM fm_pipeline.audit ORDER BY id")
        return cursor.fetchall()


def test_a_directory_comes_to_orthanc_and_a_second_import_brings_nothing_new(
    settings: Settings, orthanc: OrthancService, tmp_path: Path
) -> None:
    write_series(tmp_path / "hospital" / "Quollthorpe", 12, 2_000, patient_name="Quollthorpe^Zephyrine")
    (tmp_path / "hospital" / "letter.txt").write_text("Dear colleague")
    code, output = run(settings, "import", "--type", "initial", "--json")
    assert code == 0, output
    answer = json.loads(output)
    assert answer["message"] == "Import job processed successfully"
    data = answer["data"]
    assert (data["status"], data["files_processed"], data["files_imported"]) == ("completed", 13, 12)
    assert (data["files_failed"], data["duplicates"], data["files_skipped"], data["errors"]) == (0, 0, 1, [])
    assert stored(orthanc) == 12
    code, output = run(settings, "import")
    assert code == 0, output
    assert "12  already_there" in output
    assert "Compared with Orthanc: 12 instances expected, 0 missing, 0 differing." in output
    assert max(map(len, output.splitlines())) <= 80
    log = log_file(settings).read_text()
    assert "Quollthorpe" not in log
    assert "info: Import job 1 is completed: 13 files." in log
    assert audit(settings) == [("dicom_import", "started"), ("dicom_import", "done")] * 2


def test_files_that_a_person_should_look_at_are_counted_and_can_be_listed(settings: Settings, tmp_path: Path) -> None:
    hospital = tmp_path / "hospital"
    hospital.mkdir(exist_ok=True)
    for number, patient_id in enumerate(("", "SANDBOX-1")):
        (hospital / f"{number}.dcm").write_bytes(as_file(image("one", patient_id=patient_id)))
    code, output = run(settings, "import", "--type", "initial")
    assert code == 0, output
    said = " ".join(output.split())
    assert "1 file to look at. The Patient ID is missing." in said
    assert "fm-pipeline dicom history --job-id 1 --flag missing_patient_id" in said
    listed = run(settings, "history", "--flag", "missing_patient_id")[1]
    assert "imported missing_patient_id" in " ".join(listed.split())
    assert "Number 1 of 1 row." in listed


def test_new_files_are_those_that_history_does_not_have_as_they_are(settings: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "hospital", 4, 2_000)
    before = json.loads(run(settings, "new", "--json")[1])["data"]
    assert (before["total_files"], before["new_files"], before["already_imported"]) == (4, 4, 0)
    assert run(settings, "import", "--type", "initial")[0] == 0
    write_series(tmp_path / "hospital" / "late", 2, 2_000, name="late")
    code, output = run(settings, "new", "--json")
    after = json.loads(output)["data"]
    assert (code, after["total_files"], after["new_files"], after["already_imported"]) == (0, 6, 2, 4)
    assert [entry["name"] for entry in after["file_list"]] == ["IM000000", "IM000001"]
    assert after["total_size_bytes"] == sum(entry["size"] for entry in after["file_list"])
    code, output = run(settings, "new")
    assert "4 files known already and unchanged." in output
    assert "2 files to import" in output


def test_with_json_a_directory_that_cannot_be_listed_is_an_error_in_json_and_nothing_else(settings: Settings) -> None:
    write_series(Path(str(settings.hospital_data_path)), 1, 2_000)
    assert run(settings, "new", "--json")[0] == 0
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE fm_pipeline.watched_roots SET mount_point = '/of/another/disk'")
        connection.commit()
    code, output = run(settings, "new", "--json")
    assert (code, json.loads(output)["success"]) == (1, False)


def test_what_an_incremental_import_does_not_send_because_it_was_taken_back_is_said(settings: Settings) -> None:
    (file,) = write_series(Path(str(settings.hospital_data_path)), 1, 2_000)
    assert run(settings, "import", "--type", "initial")[0] == 0
    plan = plan_removal(settings, 1)
    remove_import(settings, 1, confirm=plan.confirmation, actor="test")
    os.utime(file)
    code, output = run(settings, "import", "--type", "incremental")
    assert (code, "1 file not stored. An import of it was taken back" in " ".join(output.split())) == (0, True)
    assert "--reason taken_back" in output


def test_a_job_can_be_prepared_and_carried_out_later(settings: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "hospital" / "ward", 3, 2_000)
    code, output = run(settings, "import", str(tmp_path / "hospital" / "ward"), "--prepare", "--json")
    assert code == 0, output
    job_id = json.loads(output)["data"]["job_id"]
    assert json.loads(output)["data"]["status"] == "pending"
    code, output = run(settings, "import", "--job-id", str(job_id))
    assert code == 0, output
    assert run(settings, "import", "--job-id", str(job_id))[0] == 1  # completed
    assert run(settings, "import", "--job-id", str(job_id), "--type", "manual")[0] == 2


@pytest.mark.hard_case(47)
def test_a_job_whose_path_is_no_longer_allowed_is_not_carried_out(
    settings: Settings, orthanc: OrthancService, tmp_path: Path
) -> None:
    write_series(tmp_path / "hospital", 1, 2_000)
    url = settings.nexus_database_url.get_secret_value()
    outside = create_job(url, "/etc", requested_by="somebody")
    code, output = run(settings, "import", "--job-id", str(outside.id), "--json")
    assert (code, json.loads(output)["error"]["code"]) == (1, 400)
    assert run(settings, "import", "/etc")[0] == 1
    assert audit(settings) == [("dicom_import", "refused")] * 2
    assert stored(orthanc) == 0


def said_at_ctrl_c(settings: Settings, orthanc: OrthancService, folder: Path, *words: str) -> str:
    """Interrupt an import after its first file, and return what it prints."""
    assert settings.orthanc_url
    with orthanc_proxy(settings.orthanc_url) as proxy, (folder / "output.txt").open("wb") as output:
        proxy.fault = busy_from(2)  # the first file is sent alone, others after it together
        busy = settings.model_copy(update={"orthanc_url": proxy.url})
        command = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "fm_pipeline", "dicom", "import", "--threads", "1", *words],
            env=environment_of(busy) | {"PYTHONPATH": str(PACKAGE_PARENT), "HOME": str(folder)},
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: stored(orthanc) == 1, PATIENCE_SECONDS)
            command.send_signal(signal.SIGINT)
            assert command.wait(PATIENCE_SECONDS) == 130
        finally:
            command.kill()
            command.wait()
    return (folder / "output.txt").read_text()


def test_ctrl_c_on_one_host_says_that_the_job_goes_on_while_another_holds_a_chunk(
    settings: Settings, orthanc: OrthancService, tmp_path: Path
) -> None:
    write_series(tmp_path / "hospital", 6, 2_000)
    settings = settings.model_copy(update={"orthanc_never_overwrites": True})
    url, path = settings.nexus_database_url.get_secret_value(), str(tmp_path / "hospital")
    job = create_shared_job(url, path, "manual", requested_by="anna", excluded=KNOWN, chunk_files=2)
    with connect(url) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE fm_pipeline.import_chunks SET fence = 1, holder = 'another:1', claimed_at = now(),"
            " heartbeat_at = now() + interval '1 hour' WHERE number = 2"
        )
    answer = json.loads(said_at_ctrl_c(settings, orthanc, tmp_path, "--job-id", str(job.id), "--json"))
    assert (answer["message"], answer["data"]["status"]) == ("This host has left; the job goes on", "running")
    assert get_job(url, job.id).status == "running"


@pytest.mark.hard_case(43)
def test_ctrl_c_cancels_and_the_job_can_be_gone_on_with(
    settings: Settings, orthanc: OrthancService, tmp_path: Path
) -> None:
    write_series(tmp_path / "hospital", 60, 2_000)
    url = settings.nexus_database_url.get_secret_value()
    said = said_at_ctrl_c(settings, orthanc, tmp_path)
    assert "Cancelled." in said
    assert "fm-pipeline dicom import --job-id 1" in said
    job = get_job(url, 1)
    assert job.status == "cancelled"
    assert job.files_imported == stored(orthanc) == 1  # what was on its way is on record
    assert audit(settings)[-1] == ("dicom_import", "cancelled")
    code, output_again = run(settings, "import", "--job-id", "1")
    assert code == 0, output_again
    job = get_job(url, 1)
    assert (job.files_imported + job.files_already_there, job.files_processed, stored(orthanc)) == (60, 60, 60)
    assert job.progress_percentage == 100


def test_without_orthancs_address_no_job_is_made(settings: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "hospital", 1, 2_000)
    code, output = run(settings.model_copy(update={"orthanc_url": None}), "import", "--json")
    assert code == 1, output
    assert json.loads(output)["error"]["message"] == "ORTHANC_URL is not set."
    assert json.loads(run(settings, "jobs", "--json")[1])["data"]["jobs"] == []


def test_an_orthanc_that_refuses_the_password_ends_the_command_with_what_to_do(
    settings: Settings, tmp_path: Path
) -> None:
    write_series(tmp_path / "hospital", 1, 2_000)
    wrong = settings.model_copy(update={"orthanc_username": "nobody"})
    code, output = run(wrong, "import", "--json")
    assert code == 1
    error = json.loads(output)["error"]
    assert error["code"] == 500
    assert "--job-id 1" in error["remedy"]
    assert audit(settings)[-1] == ("dicom_import", "failed")


@pytest.mark.hard_case(49)
def test_progress_never_falls_never_passes_100_and_says_whether_its_total_is_final(
    settings: Settings, tmp_path: Path
) -> None:
    write_series(tmp_path / "hospital", 400, 2_000)
    url = settings.nexus_database_url.get_secret_value()
    job = create_job(url, str(tmp_path / "hospital"), requested_by="anna")
    seen: list[tuple[float, int | None, int]] = []

    def look(name: str, done: int, total: int | None = None, *, errors: int = 0, note: str = "") -> None:
        seen.append((get_job(url, job.id).progress_percentage, total, done))

    carry_out(settings, job.id, actor="anna", on_progress=look)
    percentages = [percentage for percentage, _, _ in seen]
    assert percentages == sorted(percentages)
    assert 0 <= percentages[0] <= percentages[-1] <= 100
    assert all(done <= total for _, total, done in seen if total is not None)
    code, output = run(settings, "status", "--json")
    data = json.loads(output)["data"]
    assert (code, data["progress_percentage"], data["total_is_final"], data["total_files"]) == (0, 100.0, True, 400)


@pytest.mark.hard_case(43)
def test_a_job_of_the_sensor_that_was_cancelled_while_its_run_was_queued_is_not_carried_out(
    settings: Settings, tmp_path: Path
) -> None:
    write_series(tmp_path / "hospital", 2, 2_000)
    job = prepare_import(settings, None, "incremental", actor=SENSOR)
    cancel_import(settings, job.id, actor="anna")
    with pytest.raises(RequestError, match="was cancelled"):
        carry_out(settings, job.id, actor=SENSOR)
    assert get_job(settings.nexus_database_url.get_secret_value(), job.id).status == "cancelled"
    assert carry_out(settings, job.id, actor="anna").status == "completed"  # a person may go on with it


@pytest.mark.hard_case(43)
def test_cancelling_a_job_of_the_sensor_says_that_the_sensor_goes_on_and_how_to_stop_it(
    settings: Settings, tmp_path: Path
) -> None:
    write_series(tmp_path / "hospital", 2, 2_000)
    configure(settings, {"monitoring_enabled": True}, actor="anna", now=datetime.now(UTC))
    job = prepare_import(settings, None, "incremental", actor=SENSOR, files=[str(tmp_path / "hospital" / "a.dcm")])
    code, output = run(settings, "cancel", str(job.id))
    assert code == 0
    assert f"Job {job.id} is cancelled." in output
    assert "fm-pipeline dicom configure --no-monitoring-enabled" in output


def test_the_list_of_files_of_a_job_goes_when_it_is_completed_and_stays_as_long_as_it_can_be_gone_on_with(
    settings: Settings, tmp_path: Path
) -> None:
    write_series(tmp_path / "hospital", 2, 2_000)
    files = [str(path) for path in (tmp_path / "hospital").iterdir()]
    url = settings.nexus_database_url.get_secret_value()
    cancelled, failed, done = (
        prepare_import(settings, None, "incremental", actor=SENSOR, files=files) for _ in range(3)
    )
    cancel_import(settings, cancelled.id, actor="anna")
    with JobLedger(url, failed.id) as ledger:
        ledger.claim(None)
        ledger.finish("failed", "error", "It stopped.")
    assert carry_out(settings, done.id, actor=SENSOR).status == "completed"
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT job_id, count(*) FROM fm_pipeline.import_job_files GROUP BY 1 ORDER BY 1")
        assert cursor.fetchall() == [(cancelled.id, 2), (failed.id, 2)]


def test_files_that_a_filter_of_orthanc_rejects_are_told_at_the_end(settings: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "hospital", 2, 2_000)
    lua = tmp_path / "filter.lua"
    lua.write_text("function ReceivedInstanceFilter() return false end")
    with own_orthanc(LuaScripts=[str(lua)]) as filtering:
        names = {name.lower(): value for name, value in filtering.settings().items()}
        code, output = run(settings.model_copy(update=names), "import")
    assert code == 0
    assert "2 files not stored. A filter in Orthanc's own configuration" in output
    assert "fm-pipeline dicom history --job-id 1 --reason filtered_by_orthanc" in output


@pytest.mark.hard_case(48)
def test_archives_that_were_not_opened_are_told_at_the_end_with_what_to_do(settings: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "hospital", 2, 2_000)
    (tmp_path / "hospital" / "cd.7z").write_bytes(b"7z\xbc\xaf\x27\x1c\0\4" + bytes(range(200)))
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("IM0001", "anything")
    with zipfile.ZipFile(tmp_path / "hospital" / "cd.zip", "w") as archive:
        archive.writestr("inner.zip", inner.getvalue())
    code, output = run(settings, "import")
    assert code == 0
    assert "1 archive not opened." in output
    assert "1 archive in one not opened." in output
    assert "fm-pipeline dicom history --job-id 1 --reason archive_not_opened" in output
    code, output = run(settings, "history", "--job-id", "1", "--reason", "nested_archive")
    assert code == 0
    assert "cd.zip!/inner.zip" in output
    code, output = run(settings, "history", "--job-id", "1", "--reason", "archive_not_opened", "--json")
    (row,) = json.loads(output)["data"]["history"]
    assert (row["file_name"], row["status"]) == ("cd.7z", "skipped")
    assert "Unpack it" in row["error_message"]
