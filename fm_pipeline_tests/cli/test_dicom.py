"""`fm-pipeline dicom`, run as commands."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from fm_pipeline.cli.main import main
from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.history.jobs import create_job
from fm_pipeline.dicom.log import log_file
from fm_pipeline.dicom.watch.poll import poll
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline.settings import Settings
from fm_pipeline_tests.support.dicom import dicom_settings, environment_of
from fm_pipeline_tests.support.ftp.server import PASSWORD, USER, ftp_server

WIDTH = 80


class Commands:
    """Runs commands with the settings of a test."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database_url = settings.nexus_database_url.get_secret_value()
        self.hospital = settings.hospital_data_path or Path()

    def run(self, *words: str, code: int = 0) -> str:
        """What it prints; no line is wider than 80 columns but sentences, which terminals wrap."""
        environment = environment_of(self.settings) | {"COLUMNS": str(WIDTH)}
        result = CliRunner().invoke(main, ["dicom", *words], env=environment)
        assert result.exit_code == code, result.output
        return result.output

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code))

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with connect(self.database_url) as connection, connection.cursor() as cursor:
            cursor.execute(query, values or None)
            found = cursor.fetchall() if cursor.description else []
            connection.commit()
            return found


@pytest.fixture
def commands(migrated_url: str, tmp_path: Path) -> Commands:
    (tmp_path / "hospital" / "ward 3").mkdir(parents=True)
    return Commands(dicom_settings(migrated_url, tmp_path))


def fill(hospital: Path) -> None:
    for number in range(3):
        (hospital / "ward 3" / f"image [bold]{number}.dcm").write_bytes(as_file(image(f"image {number}")))
    (hospital / "letter.txt").write_text("Dear colleague")
    (hospital / "cut.dcm").write_bytes(as_file(image("cut"))[:-10])


def history(commands: Commands, files: int) -> int:
    """A job with rows of history, as an import leaves them; its id."""
    job = create_job(commands.database_url, str(commands.hospital), "initial", requested_by="anna")
    commands.rows(
        "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, file_size_bytes, file_hash,"
        " status, reason, patient_id)"
        " SELECT %s, %s || n, 'file' || n, md5(n::text)::uuid, 524288, md5(n::text),"
        " CASE WHEN n %% 10 = 0 THEN 'bad' ELSE 'imported' END, CASE WHEN n %% 10 = 0 THEN 'garbage' END, 'P1'"
        " FROM generate_series(1, %s) n",
        job.id,
        f"{commands.hospital}/file",
        files,
    )
    commands.rows(
        "UPDATE fm_pipeline.import_jobs SET files_imported = %s, files_bad = %s, size_processed_bytes = %s"
        " WHERE id = %s",
        *(files - files // 10, files // 10, files * 524288, job.id),
    )
    return job.id


def test_a_scan_lists_what_would_be_imported_and_counts_the_rest_by_reason(commands: Commands) -> None:
    fill(commands.hospital)
    answer = commands.json("scan", str(commands.hospital))
    assert answer["success"] is True
    data = answer["data"]
    assert (data["path"], data["total_files"], data["complete"]) == (str(commands.hospital), 3, True)
    assert len(data["file_list"]) == 3
    entry = sorted(data["file_list"], key=lambda each: str(each["name"]))[0]
    assert entry["name"] == "image [bold]0.dcm"
    assert entry["path"] == str(commands.hospital / "ward 3" / entry["name"])
    assert entry["size"] == (commands.hospital / "ward 3" / entry["name"]).stat().st_size
    assert entry["size_formatted"].endswith((" B", " KB"))
    assert data["total_size_bytes"] == sum(each["size"] for each in data["file_list"])
    reasons = {(each["outcome"], each["reason"]): each["files"] for each in data["not_imported"]}
    assert reasons == {("skipped", "text"): 1, ("bad", "cut_in_pixel_data"): 1}
    everything = commands.json("scan", "--all")["data"]["file_list"]
    assert {each.get("reason") for each in everything} == {None, "text", "cut_in_pixel_data"}
    assert commands.json("scan", "--limit", "1")["data"]["total_files"] == 3


def test_a_scan_for_people_fits_80_columns_and_shows_names_as_they_are(commands: Commands) -> None:
    fill(commands.hospital)
    output = commands.run("scan", "--all")
    assert "image [bold]0.dcm" in output
    assert "3 files to import" in output
    assert "It ends inside the pixel data." in output
    assert max(map(len, output.splitlines())) <= WIDTH


def test_an_empty_directory_is_not_called_complete(commands: Commands) -> None:
    (commands.hospital / "ward 3").rmdir()
    data = commands.json("scan")["data"]
    assert (data["total_files"], data["complete"], data["directories_unreadable"]) == (0, False, 1)


@pytest.mark.parametrize("path", ["/etc", "hospital", "{hospital}/../other", "{hospital}/out"])
@pytest.mark.parametrize("words", [["scan"], ["configure", "--hospital-data-path"]], ids=["scan", "configure"])
@pytest.mark.hard_case(47)
def test_a_path_outside_the_roots_is_refused_with_400_a_log_entry_and_an_audit_row(
    commands: Commands, tmp_path: Path, words: list[str], path: str
) -> None:
    (tmp_path / "other").mkdir()
    (commands.hospital / "out").symlink_to(tmp_path / "other")
    path = path.format(hospital=commands.hospital)
    answer = commands.json(*words, path, code=1)
    assert (answer["success"], answer["error"]["code"]) == (False, 400)
    assert path not in json.dumps(answer)
    log = log_file(commands.settings).read_text()
    assert "warning: Refused" in log
    assert path not in log
    (row,) = commands.rows("SELECT outcome, detail FROM fm_pipeline.audit WHERE outcome = 'refused'")
    assert path not in row[1]


def test_jobs_are_paged_and_filtered_as_in_the_hospitals_system(commands: Commands) -> None:
    for _ in range(25):
        create_job(commands.database_url, str(commands.hospital), "incremental", requested_by="anna")
    create_job(commands.database_url, str(commands.hospital), "manual", requested_by="anna")
    data = commands.json("jobs")["data"]
    assert data["pagination"] == {"total": 26, "limit": 20, "offset": 0, "has_more": True}
    assert data["jobs"][0]["job_type"] == "manual"
    data = commands.json("jobs", "--limit", "100", "--job-type", "incremental", "--status", "pending")["data"]
    assert data["pagination"] == {"total": 25, "limit": 100, "offset": 0, "has_more": False}
    assert commands.json("jobs", "--limit", "101", code=1)["error"]["code"] == 400
    assert commands.json("jobs", "--offset", "-1", code=1)["error"]["code"] == 400
    output = commands.run("jobs")
    assert "1 to 20 of 26 jobs." in output
    assert max(map(len, output.splitlines())) <= WIDTH


def test_history_is_paged_and_filtered_and_adds_up(commands: Commands) -> None:
    job_id = history(commands, 120)
    data = commands.json("history")["data"]
    assert data["pagination"] == {"total": 120, "limit": 50, "offset": 0, "has_more": True}
    statistics = data["statistics"]
    assert (statistics["total_imports"], statistics["successful_imports"], statistics["failed_imports"]) == (
        *(120, 108, 12),
    )
    row = data["history"][0]
    assert row["file_size_formatted"] == "512.00 KB"
    assert (row["job_id"], row["job_type"], row["job_source_path"]) == (job_id, "initial", str(commands.hospital))
    bad = commands.json("history", "--status", "bad", "--reason", "garbage", "--job-id", str(job_id))["data"]
    assert bad["pagination"]["total"] == 12
    assert commands.json("history", "--limit", "1001", code=1)["error"]["code"] == 400
    output = commands.run("history", "--limit", "3")
    assert "1 to 3 of 120 rows." in output
    assert "108 imported, 12 bad" in output
    assert max(map(len, output.splitlines())) <= WIDTH


def test_the_status_of_a_job_that_does_not_exist_is_404(commands: Commands) -> None:
    assert commands.json("status", code=1)["error"]["code"] == 404
    assert commands.json("status", "7", code=1)["error"]["code"] == 404
    assert (
        "There is no import job 7."
        in CliRunner().invoke(main, ["dicom", "status", "7"], env=environment_of(commands.settings)).output
    )


def test_the_status_of_a_job_that_has_ended_does_not_say_that_something_goes_on(commands: Commands) -> None:
    job = create_job(commands.database_url, str(commands.hospital), requested_by="anna")
    ended = "UPDATE fm_pipeline.import_jobs SET status = %s, started_at = now(), completed_at = now(), total_files = 5"
    for status in ("cancelled", "failed"):
        commands.rows(ended, status)
        output = commands.run("status", str(job.id))
        assert "goes on" not in output
        assert "0 of 5 files have an outcome" in output
        assert "there may be more files than these" in output
        assert f"To resume it: fm-pipeline dicom import --job-id {job.id}" in output
    commands.rows(ended + ", scan_complete = true", "completed")
    output = commands.run("status", str(job.id))
    assert "To resume it" not in output
    assert "may be more" not in output
    commands.rows(ended + ", scan_complete = false", "running")
    assert "and the scan goes on" in commands.run("status", str(job.id))


def test_a_job_in_chunks_is_prepared_for_other_hosts_and_its_status_counts_the_chunks(commands: Commands) -> None:
    (commands.hospital / "file").write_bytes(b"content")
    assert "fm-pipeline dicom import --job-id 1" in commands.run("import", "--chunks", "--prepare")
    assert "0 of 1 chunk done, 0 at work" in commands.run("status", "1")


def test_the_status_of_the_newest_job_says_what_the_sensor_has_seen(commands: Commands) -> None:
    job = create_job(commands.database_url, str(commands.hospital), requested_by="anna")
    (commands.hospital / "a.txt").write_text("Dear colleague")
    assert "The sensor" not in commands.run("status")
    commands.run("configure", "--monitoring-enabled")
    with connect(commands.database_url) as connection:
        poll(connection, str(commands.hospital), now=datetime.now(UTC), quiet_seconds=60)
    assert "The sensor looked at the watched directory at 20" in commands.run("status")
    assert "Every folder was listed within the last" in commands.run("status")
    assert "The sensor" not in commands.run("status", str(job.id))


def test_the_status_of_a_job_that_was_cancelled_before_its_start_says_so(commands: Commands) -> None:
    job = create_job(commands.database_url, str(commands.hospital), requested_by="anna")
    commands.json("cancel", str(job.id))
    assert "It was never started." in commands.run("status", str(job.id))


def test_a_pending_job_is_cancelled_once(commands: Commands) -> None:
    job = create_job(commands.database_url, str(commands.hospital), requested_by="anna")
    answer = commands.json("cancel", str(job.id))
    assert answer["data"] == {"job_id": job.id, "status": "cancelled", "monitoring_continues": False}
    assert answer["message"] == "Import job cancelled successfully"
    assert commands.json("status", str(job.id))["data"]["status"] == "cancelled"
    assert commands.json("cancel", str(job.id), code=1)["error"]["code"] == 400
    assert commands.json("cancel", "99", code=1)["error"]["code"] == 404
    assert commands.rows("SELECT outcome FROM fm_pipeline.audit WHERE action = 'dicom_cancel' ORDER BY id") == [
        ("done",),
        ("refused",),
        ("refused",),
    ]


def test_what_is_configured_can_be_read_and_the_ftp_password_cannot(commands: Commands) -> None:
    commands.settings = commands.settings.model_copy(
        update={"ftp_password": dicom_settings("x", Path(), ftp_password="quite secret").ftp_password}
    )
    options = ("--monitoring-enabled", "--monitoring-interval", "45", "--ftp-host", "ftp.example", "--no-ftp-passive")
    after = commands.json("configure", *options)["data"]
    assert (after["monitoring_enabled"], after["monitoring_interval"], after["ftp_passive"]) == (True, 45, False)
    assert (after["ftp_configured"], after["ftp_password_set"], after["has_configuration"]) == (True, True, True)
    assert commands.json("configuration")["data"] == after
    assert "monitoring_interval   45" in commands.run("configuration")
    assert "quite secret" not in json.dumps(after) + log_file(commands.settings).read_text()
    assert commands.json("configure", "--monitoring-interval", "3", code=1)["error"]["code"] == 400
    commands.run("configure", code=2)


def test_history_is_pruned_only_when_somebody_says_so(commands: Commands) -> None:
    history(commands, 5)
    commands.run("prune", code=2)
    commands.rows("UPDATE fm_pipeline.import_history SET imported_at = '2020-01-01'")
    assert commands.json("prune", "--older-than-days", "30")["data"]["removed"] is False
    commands.run("prune", "--older-than-days", "30", "--yes")
    assert commands.rows("SELECT count(*) FROM fm_pipeline.import_history") == [(5,)]  # each is the newest of its file
    assert commands.rows("SELECT outcome FROM fm_pipeline.audit WHERE action = 'dicom_prune' ORDER BY id") == [
        ("started",),
        ("done",),
    ]


def test_names_under_a_patient_id_are_confirmed_to_be_of_one_person_only_when_somebody_says_so(
    commands: Commands,
) -> None:
    history(commands, 3)
    commands.rows("UPDATE fm_pipeline.import_history SET flags = '{patient_id_with_another_name,sent_again}'")
    commands.rows("INSERT INTO fm_pipeline.import_patients VALUES ('P1', 'a:b'), ('P1', 'c:b'), ('P2', 'a:b')")
    assert commands.json("one-person", "2")["data"] == {"row_id": 2, "persons": 2, "rows": 3, "confirmed": False}
    assert "are one person, add --persons 2." in commands.run("one-person", "2")
    commands.rows("INSERT INTO fm_pipeline.import_patients VALUES ('P1', 'd:e')")
    flags = "SELECT DISTINCT flags FROM fm_pipeline.import_history"
    flagged = commands.rows(flags)
    assert commands.json("one-person", "2", "--persons", "2", code=1)["error"]["code"] == 409
    assert commands.rows(flags) == flagged
    assert commands.rows("SELECT count(one_person_since) FROM fm_pipeline.import_patients") == [(0,)]
    assert "The flag was removed." in commands.run("one-person", "2", "--persons", "3")
    assert commands.rows("SELECT DISTINCT flags FROM fm_pipeline.import_history") == [(["sent_again"],)]
    confirmed = "SELECT patient_id FROM fm_pipeline.import_patients WHERE one_person_since IS NOT NULL"
    assert commands.rows(confirmed) == [("P1",), ("P1",), ("P1",)]
    assert commands.json("one-person", "2", "--persons", "3", code=1)["error"]["code"] == 404
    trail = "SELECT outcome, detail FROM fm_pipeline.audit WHERE action = 'dicom_one_person' ORDER BY id"
    assert [outcome for outcome, _ in commands.rows(trail)] == ["refused", "done", "refused"]
    assert "P1" not in str(commands.rows(trail))


def test_an_unknown_reason_is_refused_with_the_list_of_those_that_there_are(commands: Commands) -> None:
    output = commands.run("history", "--reason", "broken", code=2)
    assert "'garbage'" in output
    assert "'orthanc_refused'" in output
    assert "There are no rows." in commands.run("history", "--reason", "garbage")


def test_a_list_beyond_its_end_and_the_history_of_no_job_are_told_as_such(commands: Commands) -> None:
    job_id = history(commands, 1)
    assert "None is shown: there is 1 job, and 50 were passed over." in commands.run("jobs", "--offset", "50")
    assert "Number 1 of 1 job." in commands.run("jobs")
    assert commands.json("history", "--job-id", str(job_id + 1), code=1)["error"]["code"] == 404


def test_the_exit_code_of_a_pull_says_whether_everything_is_here(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "one.dcm").write_bytes(b"one")
    (tmp_path / "server" / "still-written.tmp").write_bytes(b"two")
    with ftp_server(tmp_path / "server") as server:
        options = ("--ftp-host", "127.0.0.1", "--ftp-port", str(server.port), "--ftp-security", "none")
        commands.settings = commands.settings.model_copy(update={"ftp_password": SecretStr(PASSWORD)})
        commands.run("configure", *options, "--ftp-username", USER, "--ftp-enabled")
        server.faults.busy = ("one.dcm",)
        said = commands.run("ftp", code=1)
        assert "busy_on_server" in said
        assert "Not everything on the server is here" in said
        assert "unfinished_name" in said
        server.faults.busy = ()
        assert "1 file pulled" in commands.run("ftp")
