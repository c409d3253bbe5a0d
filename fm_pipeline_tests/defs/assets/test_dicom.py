"""The import as a Dagster run, against a real Orthanc."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import dagster as dg
import pytest
from pydantic import SecretStr

from fm_pipeline.db.connection import connect
from fm_pipeline.definitions import build_defs
from fm_pipeline.defs.assets.dicom import INSTANCES, INVENTORY, STEP
from fm_pipeline.defs.names import MAX_RUNTIME_TAG
from fm_pipeline.dicom.configuration.configuration import configure
from fm_pipeline.dicom.ftp.ftp_ledger import only_one_pull
from fm_pipeline.dicom.history.jobs import create_job, get_job
from fm_pipeline.dicom.importer import run_job as importing
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.settings import Settings
from fm_pipeline_tests.canaries.search import find
from fm_pipeline_tests.support.dicom import dicom_settings
from fm_pipeline_tests.support.ftp.scripted import scripted_ftp
from fm_pipeline_tests.support.ftp.server import PASSWORD, USER, ftp_server
from fm_pipeline_tests.support.orthanc import emptied, need_orthanc
from fm_pipeline_tests.support.services import LazyStack

PERSON: dict[str, Any] = {"patient_name": "Quollthorpe^Zephyrine", "patient_id": "HN69518372041"}
KIND = "ASSET_CHECK_EVALUATION"
CANARIES = {"name": "Quollthorpe", "first name": "Zephyrine", "patient id": "HN69518372041", "folder": "Zephyrine Q."}


class Graph:
    """A code location, and an instance on the disk."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance
        self.database_url = settings.nexus_database_url.get_secret_value()
        self.defs = build_defs(read_settings=lambda: self.settings)

    def run(self, *, materialize: bool = False, **config: Any) -> dg.ExecuteInProcessResult:
        """Run the job, or the implicit one as "Materialize" does, which has no tags."""
        return self.defs.resolve_job_def("__ASSET_JOB" if materialize else "dicom_import").execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            run_config={"ops": {STEP: {"config": config}}},
            asset_selection=[INVENTORY, INSTANCES] if materialize else None,
        )

    def metadata(self, key: dg.AssetKey) -> dict[str, Any]:
        event = self.instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.asset_materialization is not None
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}

    def audit(self) -> list[tuple[Any, ...]]:
        with connect(self.database_url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT action, outcome FROM fm_pipeline.audit ORDER BY id")
            return cursor.fetchall()


@pytest.fixture
def graph(migrated_url: str, stack: LazyStack, tmp_path: Path) -> Iterator[Graph]:
    need_orthanc()
    names = {name.lower(): value for name, value in emptied(stack.orthanc).settings().items()}
    (tmp_path / "hospital").mkdir()
    (tmp_path / "dagster").mkdir()
    settings = dicom_settings(migrated_url, tmp_path, **names)
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Graph(settings, instance)


def fill(hospital: Path) -> None:
    folder = hospital / CANARIES["folder"]
    write_series(folder, 6, 2_000, modality="CT", study_date="20251103", **PERSON)
    for number in range(3):
        typed = image(f"typed {number}", study_date="20251001", **PERSON)
        typed.Modality = "SMITH"
        (folder / f"typed {number}").write_bytes(as_file(typed))
    (folder / f"{CANARIES['name']}.txt").write_text("Dear " + CANARIES["first name"])
    (folder / "cut.dcm").write_bytes(as_file(image("cut", **PERSON))[:-10])


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    evaluations = [event.asset_check_evaluation_data for event in result.all_events if event.event_type_value == KIND]
    return {each.check_name: each.passed for each in evaluations}


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the one step that failed has said."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.error
    return event.step_failure_data.error.message


def test_a_run_is_one_job_with_its_numbers_and_checks(graph: Graph, tmp_path: Path) -> None:
    fill(tmp_path / "hospital")
    result = graph.run(job_type="initial", requested_by="anna")
    assert result.success
    inventory, instances = graph.metadata(INVENTORY), graph.metadata(INSTANCES)
    assert (inventory["dagster/row_count"], inventory["files_imported"], inventory["files_bad"]) == (11, 9, 1)
    assert "| bad: cut_in_pixel_data | 1 |" in inventory["not_imported"]
    assert (instances["dagster/row_count"], instances["new_instances"]) == (9, 9)
    # What is no defined term may be what somebody typed.
    assert "| CT | 6 |" in instances["by_modality"]
    assert "| other | 3 |" in instances["by_modality"]
    assert "SMITH" not in instances["by_modality"]
    assert "| 2025-10 | 3 |" in instances["by_month"]
    assert instances["orthanc_version"]
    assert (instances["orthanc_instances"], instances["orthanc_patients"] > 0) == (9, True)
    assert checks(result) == {
        "every_directory_was_read": True,
        "failures_below_threshold": False,  # one of eleven
        "all_in_orthanc": True,
    }
    assert get_job(graph.database_url, int(inventory["job_id"])).run_id == result.run_id
    assert graph.audit() == [("dicom_import", "started"), ("dicom_import", "done")]
    assert checks(graph.run(max_failure_percent=50))["failures_below_threshold"]
    again = graph.metadata(INVENTORY)
    assert (again["files_unchanged"], "Nothing was new: 11 files" in again["not_imported"]) == (11, True)


def test_no_name_patient_id_or_path_is_in_what_a_run_leaves(graph: Graph, tmp_path: Path) -> None:
    fill(tmp_path / "hospital")
    assert graph.run(job_type="initial").success
    wrong = graph.settings.orthanc_url
    graph.settings = graph.settings.model_copy(update={"orthanc_username": "nobody"})
    fill(tmp_path / "hospital" / "more")
    result = graph.run()
    assert wrong
    assert not result.success
    left = find(tmp_path, CANARIES | {"path": str(tmp_path / "hospital")}, allowed=[tmp_path / "hospital"])
    assert left == []
    with connect(graph.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(string_agg(detail, ' '), '') FROM fm_pipeline.audit")
        ((details,),) = cursor.fetchall()
        cursor.execute("SELECT string_agg(concat(error_reason, error_message), ' ') FROM fm_pipeline.import_jobs")
        ((errors,),) = cursor.fetchall()
    assert not any(canary in details + errors for canary in CANARIES.values())


@pytest.mark.parametrize("because_of", ["a signal", "its time limit", "the time limit of all runs", "a person"])
@pytest.mark.hard_case(43)
def test_the_end_of_a_run_cancels_its_job_as_a_person_does_only_if_one_terminated_it_and_another_run_goes_on(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, because_of: str
) -> None:
    write_series(tmp_path / "hospital", 40, 2_000)
    url = graph.database_url
    job = create_job(url, str(tmp_path / "hospital"), requested_by="anna")

    def interrupted(*_: object, **__: object) -> NoReturn:
        (run,) = graph.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        if because_of == "its time limit":
            graph.instance.add_run_tags(run.run_id, {MAX_RUNTIME_TAG: "0.000001"})
        if because_of == "the time limit of all runs":
            limits = {"max_runtime_seconds": 1e-6}
            fault.setattr(dg.DagsterInstance, "run_monitoring_settings", property(lambda _: limits))
        if because_of != "a signal":  # at a machine's end the process gets one, and nobody tells Dagster
            graph.instance.report_run_canceling(run)
        raise dg.DagsterExecutionInterruptedError

    with monkeypatch.context() as fault:
        fault.setattr(importing, "compare", interrupted)
        assert not graph.run(job_id=job.id, materialize=because_of == "the time limit of all runs").success
    after = get_job(url, job.id)
    assert (after.status, after.files_imported) == ("cancelled", 40)
    assert (after.cancel_requested_at is not None) is (because_of == "a person")
    assert graph.audit()[-1] == ("dicom_import", "cancelled")
    assert graph.run(job_id=job.id).success
    assert get_job(url, job.id).status == "completed"


def test_a_job_that_somebody_cancels_meanwhile_is_no_success_and_says_how_to_go_on(
    graph: Graph, tmp_path: Path
) -> None:
    write_series(tmp_path / "hospital", 2, 2_000)
    job = create_job(graph.database_url, str(tmp_path / "hospital"), requested_by="anna")
    with connect(graph.database_url) as connection, connection.cursor() as cursor:
        # In the very moment in which it begins, however fast it is.
        cursor.execute(
            "CREATE FUNCTION cancel() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.cancel_requested_at := clock_timestamp(); RETURN NEW; END $$;"
            "CREATE TRIGGER cancel BEFORE UPDATE ON fm_pipeline.import_jobs FOR EACH ROW"
            " WHEN (OLD.status = 'pending' AND NEW.status = 'running') EXECUTE FUNCTION cancel()"
        )
        connection.commit()
    told = failure(graph.run(job_id=job.id))
    assert f"Import job {job.id} was cancelled on request" in told
    assert f"launch dicom_import with job_id: {job.id}" in told
    assert get_job(graph.database_url, job.id).status == "cancelled"
    assert graph.run(job_id=job.id).success


def test_a_job_that_is_not_there_is_told(graph: Graph) -> None:
    assert "There is no import job 77." in failure(graph.run(job_id=77))


def test_files_are_pulled_from_the_ftp_server_first_and_imported_with_the_others(graph: Graph, tmp_path: Path) -> None:
    write_series(tmp_path / "server", 2, 2_000, name="remote")
    write_series(tmp_path / "hospital", 1, 2_000)
    graph.settings = graph.settings.model_copy(update={"ftp_password": SecretStr(PASSWORD)})
    with ftp_server(tmp_path / "server") as server:
        changes = {"ftp_host": "127.0.0.1", "ftp_port": server.port, "ftp_username": USER, "ftp_security": "none"}
        configure(graph.settings, changes | {"ftp_enabled": True}, actor="test", now=datetime.now(UTC))
        assert graph.run(pull_from_ftp=True).success
    assert graph.metadata(INSTANCES)["new_instances"] == 3
    assert ("dicom_ftp", "done") in graph.audit()


def test_an_ftp_server_that_fails_does_not_hold_back_the_import_and_fails_the_run_in_the_end(
    graph: Graph, tmp_path: Path
) -> None:
    write_series(tmp_path / "hospital", 1, 2_000)
    with scripted_ftp({"USER": b"530 no\r\n"}) as server:
        changes = {"ftp_host": "127.0.0.1", "ftp_port": server.port, "ftp_security": "none", "ftp_enabled": True}
        configure(graph.settings, changes, actor="test", now=datetime.now(UTC))
        assert "refused the login (reply 530)" in failure(graph.run(pull_from_ftp=True))
    assert graph.metadata(INSTANCES)["new_instances"] == 1


def test_a_pull_that_somebody_else_runs_does_not_hold_back_the_import_and_fails_the_run_in_the_end(
    graph: Graph, tmp_path: Path
) -> None:
    write_series(tmp_path / "hospital", 1, 2_000)
    changes = {"ftp_host": "127.0.0.1", "ftp_security": "none", "ftp_enabled": True}
    configure(graph.settings, changes, actor="test", now=datetime.now(UTC))
    with connect(graph.database_url) as connection, only_one_pull(connection):
        assert "Another pull from the FTP server runs." in failure(graph.run(pull_from_ftp=True))
    assert graph.metadata(INSTANCES)["new_instances"] == 1
