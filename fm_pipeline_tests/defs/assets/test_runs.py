"""The graph does what the domain code does: the same runs that the UI starts, in this process."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from fm_pipeline.db.audit import operating_system_user
from fm_pipeline.db.migrate import migrate
from fm_pipeline.definitions import build_defs
from fm_pipeline.defs.assets.reimport import CHECKS
from fm_pipeline.defs.explained_failure import cancelled_reimport
from fm_pipeline.defs.names import PLAN_TAG
from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.notifications.send_run_emails import send_due_emails
from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, small_clinic
from fm_pipeline_tests.support.mail import mail_settings, mails_of, text_of
from fm_pipeline_tests.support.services import LazyStack
from fm_pipeline_tests.support.waiting import wait_until

TRANSACTION = [
    "deleted_patient_data",
    "patients",
    "appointments",
    "notes_and_messages",
    "documents",
    "image_batches",
    "reimport_validation",
]


class Graph:
    """A code location whose settings are the bench's, with an instance that is forgotten afterwards."""

    def __init__(self, bench: MigrationBench, instance: dg.DagsterInstance) -> None:
        self.defs = build_defs(read_settings=lambda: bench.settings)
        self.instance = instance

    def run(self, job: str, *, config: dict[str, Any] | None = None, assets: list[str] | None = None) -> Any:
        """Run a job, or some assets of the implicit one as "Materialize" does."""
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            run_config={"ops": config} if config else None,
            asset_selection=[dg.AssetKey(name) for name in assets] if assets else None,
        )

    def metadata(self, asset: str) -> dict[str, Any]:
        """Of the newest materialization, by label."""
        event = self.instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert event is not None
        assert event.asset_materialization is not None
        return {key: value.value for key, value in event.asset_materialization.metadata.items()}

    def versions(self, asset: str) -> set[str]:
        """Data versions of the last two materializations."""
        found = self.instance.fetch_materializations(dg.AssetKey(asset), limit=2).records
        assert len(found) == 2
        return {
            str((each.asset_materialization.tags or {})["dagster/data_version"])
            for each in found
            if each.asset_materialization
        }

    def permission(self) -> dict[str, Any]:
        """Run config that carries out the newest plan."""
        plan = self.metadata("reimport_plan")
        return {"reimport_transaction": {"config": {"plan_id": plan["plan_id"], "confirm": plan["confirm"]}}}


@pytest.fixture
def graph(bench: MigrationBench) -> Any:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Graph(bench, instance)


def _failure(result: Any) -> str:
    """What the failed step says."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.error.message) + str(event.step_failure_data.user_failure_data)


def _failed_step(result: Any) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_key)


def test_plan_then_full_reimport_makes_nexus_what_the_oracle_says(bench: MigrationBench, graph: Graph) -> None:
    before = bench.digests()
    assert graph.run("plan_reimport").success
    assert bench.digests() == before
    result = graph.run("full_reimport", config=graph.permission())
    assert result.success
    plan_id = graph.metadata("reimport_plan")["plan_id"]
    runs = graph.instance.get_runs(dg.RunsFilter(tags={PLAN_TAG: plan_id}))
    assert [run.job_name for run in runs] == ["full_reimport", "plan_reimport"]
    assert bench.differences(small_clinic().expected()) == []
    assert graph.metadata("patients")["dagster/row_count"] == small_clinic().expected().changes["patients"].after
    assert graph.metadata("patients")["dagster/table_name"] == "public.patients"
    columns = {column.name: column.type for column in graph.metadata("patients")["dagster/column_schema"].columns}
    assert columns["dob"] == "date"
    assert graph.metadata("image_batches")["dagster/table_name"] == "public.images_batch"
    assert len(graph.versions("filemaker_patients")) == 1, "FileMaker has given the same records twice"
    checks = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    named = {name for names in CHECKS.values() for name in names}
    assert named <= {check.check_name for check in checks}, "those of a table that is left out too"
    assert all(check.passed for check in checks)
    (folder,) = (bench.settings.state_dir / "reports").iterdir()
    assert sorted(file.name for file in folder.iterdir()) == ["not_loaded.csv", "report.json", "report.md"]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_first_sync_after_a_reimport_of_the_jobs_stages_nothing(bench: MigrationBench) -> None:
    bench = bench.with_settings(filemaker_door="odata")  # a sync reads nothing again of records that were edited today
    with dg.DagsterInstance.ephemeral() as instance:
        graph = Graph(bench, instance)
        assert graph.run("plan_reimport").success
        assert graph.run("full_reimport", config=graph.permission()).success
    builds = "SELECT entity, built_at FROM fm_pipeline.staged_builds ORDER BY 1"
    before = bench.execute(builds)
    assert not read_changes_and_stage(bench.settings)
    assert bench.execute(builds) == before


def test_a_reading_drops_what_an_earlier_profile_brought_as_the_command_does(
    bench: MigrationBench, graph: Graph
) -> None:
    migrate(bench.database_url)
    bench.execute(
        "INSERT INTO fm_pipeline.source_extractions VALUES"
        " ('of_long_ago', gen_random_uuid(), 'p', 'l', 's', NULL, now(), now(), 0, 0, '{}', 'd')"
    )
    assert graph.run("__ASSET_JOB", assets=["filemaker_notes"]).success
    assert bench.execute("SELECT entity FROM fm_pipeline.source_extractions") == [("note",)]


def test_full_reimport_without_a_plan_changes_nothing_and_says_what_to_do(bench: MigrationBench, graph: Graph) -> None:
    before = bench.digests()
    result = graph.run("full_reimport")
    assert not result.success
    assert _failed_step(result) == "preflight"
    assert "needs a plan and a confirmation" in _failure(result)
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.error.stack == []
    assert bench.digests() == before


@pytest.mark.usefixtures("staged_once")
def test_full_reimport_with_wrong_words_is_refused_in_its_first_step_and_on_record(
    bench: MigrationBench, graph: Graph
) -> None:
    plan = bench.plan()
    config = {"plan_id": plan.id, "confirm": "wrong words", "requested_by": "an administrator"}
    result = graph.run("full_reimport", config={"reimport_transaction": {"config": config}})
    assert _failed_step(result) == "preflight"
    assert [event.step_key for event in result.all_events if event.is_step_start] == ["preflight"]
    assert "does not name this database and its number of patients" in _failure(result)
    assert bench.execute("SELECT count(*) FROM fm_pipeline.backups") == [(0,)]
    audit = bench.execute("SELECT actor, outcome FROM fm_pipeline.audit WHERE plan_id::text = %s", plan.id)
    actor = f"dagster ({operating_system_user()}): an administrator"
    assert audit == [(actor, "started"), (actor, "refused")]


@pytest.mark.usefixtures("staged_once")
def test_some_phases_materialized_with_the_preflight_are_refused_by_it_too(bench: MigrationBench, graph: Graph) -> None:
    plan = bench.plan()
    config = {"reimport_transaction": {"config": {"plan_id": plan.id, "confirm": plan.confirmation}}}
    result = graph.run("__ASSET_JOB", assets=["preflight", "deleted_patient_data", "patients"], config=config)
    failed = {
        event.step_key: event.step_failure_data.error.message for event in result.all_events if event.is_step_failure
    }
    assert failed.keys() == {"preflight", "reimport_transaction"}
    assert all("not for delete, patients." in message for message in failed.values())


@pytest.mark.usefixtures("staged_once")
def test_materializing_the_destructive_assets_by_hand_is_refused_just_the_same(
    bench: MigrationBench, graph: Graph
) -> None:
    before = bench.digests()
    for assets in (TRANSACTION, ["deleted_patient_data"], ["patients"]):
        result = graph.run("__ASSET_JOB", assets=assets)
        assert not result.success
        assert "needs a plan and a confirmation" in _failure(result)
    assert bench.digests() == before


@pytest.mark.usefixtures("staged_once")
def test_a_cancelled_reimport_says_that_nexus_is_unchanged(bench: MigrationBench, graph: Graph) -> None:
    plan = bench.plan()
    make_backup(bench.settings, now=RUN_TIME)
    config = {"reimport_transaction": {"config": {"plan_id": plan.id, "confirm": plan.confirmation}}}
    before = bench.digests()

    def cancel_when_it_waits() -> None:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'patients'::regclass"
        wait_until(lambda: bench.execute(waiting) == [(1,)])
        os.kill(os.getpid(), signal.SIGINT)
        other.rollback()

    with bench.connection() as other, other.cursor() as cursor, ThreadPoolExecutor() as pool:
        cursor.execute("LOCK TABLE patients IN ROW EXCLUSIVE MODE")
        cancelled = pool.submit(cancel_when_it_waits)
        result = graph.run("__ASSET_JOB", assets=TRANSACTION, config=config)
        cancelled.result()
    assert "Its transaction was not committed: Nexus is as it was before." in _failure(result)
    assert bench.digests() == before


@pytest.mark.usefixtures("staged_once")
def test_a_reimport_that_is_cancelled_after_its_commit_says_that_nexus_has_the_new_data(bench: MigrationBench) -> None:
    bench.reimport(run_id="a run")
    assert "Nexus has the new data" in cancelled_reimport(bench.settings, "a run")
    assert "Nexus is as it was before" in cancelled_reimport(bench.settings, "another run")


@pytest.mark.usefixtures("staged_once")
def test_the_page_of_a_plan_begins_with_its_table_and_with_what_would_be_lost(
    bench: MigrationBench, graph: Graph
) -> None:
    assert graph.run("__ASSET_JOB", assets=["reimport_plan"]).success
    metadata = graph.metadata("reimport_plan")
    assert list(metadata)[:2] == ["changes", "would_be_lost"]
    assert metadata["changes"].startswith("| rows that would be | deleted | new | changed |")
    assert metadata["would_be_lost"].startswith("- 21 rows of xero_invoices would lose their appointment: ")
    assert "console_page" not in metadata, "nobody has said where the console is"


@pytest.mark.usefixtures("staged_once")
def test_a_plan_that_is_ready_is_told_by_a_mail_that_leads_to_its_page(bench: MigrationBench, stack: LazyStack) -> None:
    mail = {name: value for name, value in mail_settings(Path(), stack.mail.port) if name.startswith("smtp_")}
    bench = bench.with_settings(**mail, console_url="https://console.clinic.example", support_contact="Clinic IT")
    with dg.DagsterInstance.ephemeral() as instance:
        graph = Graph(bench, instance)
        assert graph.run("__ASSET_JOB", assets=["reimport_plan"]).success
        metadata = graph.metadata("reimport_plan")
    address = f"https://console.clinic.example/settings/data-management/plans/{metadata['plan_id']}"
    assert metadata["console_page"] == address
    assert send_due_emails(bench.settings, warn=pytest.fail) == 1
    (sent,) = mails_of(stack.mail, metadata["plan_id"])
    text = text_of(sent)
    assert text.startswith(f"Plan ready: {metadata['would_change']:,} rows of Nexus would change\n")
    for sentence in ("Nexus is unchanged.", "xero_invoices would lose", f"Page: {address}", "Help: Clinic IT"):
        assert sentence in text


def test_rows_that_break_a_rule_stop_the_run_before_the_transaction(bench: MigrationBench, graph: Graph) -> None:
    bench.store.edit("clinic", "Patients", 1, {"clinic_name": "A clinic that nobody knows"})
    before = bench.digests()
    result = graph.run("plan_reimport")
    assert not result.success
    failed = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION" and not event.asset_check_evaluation_data.passed
    ]
    assert [check.asset_key.to_user_string() for check in failed] == ["staged_patients"]
    assert "clinic_unknown" in str(failed[0].description)
    assert "nobody knows" not in str(failed[0].description)
    assert bench.digests() == before


def test_system_configuration_is_observed_by_every_run_and_cannot_be_materialized(graph: Graph) -> None:
    assert graph.run("plan_reimport").success
    for name in ("clinics", "clinicians", "appointment_types", "funding_sources"):
        key = dg.AssetKey(name)
        (record,) = graph.instance.fetch_observations(key, limit=10).records
        assert record.asset_observation is not None
        assert int(str(record.asset_observation.metadata["dagster/row_count"].value)) > 0
        assert not graph.defs.resolve_asset_graph().get(key).is_materializable


def test_staging_before_anything_was_read_stops_and_says_what_to_do(graph: Graph) -> None:
    result = graph.run("__ASSET_JOB", assets=["staged_patients"])
    assert "records of patient, contact_detail have never been read into this database" in _failure(result)
    assert graph.run("__ASSET_JOB", assets=["filemaker_patients", "filemaker_notes"]).success
    for asset in ("staged_patients", "staged_notes"):  # patients without their telephone would be a wrong plan
        failure = _failure(graph.run("__ASSET_JOB", assets=[asset]))
        assert "records of contact_detail have never been read" in failure
        assert "Launch plan_reimport" in failure


def test_what_the_preflight_stops_for_is_why_the_run_failed(bench: MigrationBench, graph: Graph) -> None:
    bench.stand_in.faults(missing_layouts=["API_Notes"])
    result = graph.run("plan_reimport")
    assert [event.step_key for event in result.all_events if event.is_step_start] == ["preflight"]
    checks = {
        event.asset_check_evaluation_data.check_name: event.asset_check_evaluation_data.passed
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    }
    assert checks == {"filemaker": False, "nexus": True, "source": True, "services": True}
    failure = _failure(result)
    assert "The preflight stops for 1 reason:" in failure
    assert "API_Notes" in failure
    assert "Nexus is unchanged." in failure


@pytest.mark.parametrize("assets", [["reimport_plan"], ["nexus_backup"], TRANSACTION, ["crosswalk"]])
def test_a_database_that_is_away_is_told_by_each_step_in_its_sentences(
    bench: MigrationBench, assets: list[str]
) -> None:
    away = bench.with_settings(nexus_database_url=SecretStr("postgresql://u:p@127.0.0.1:1/d"))
    with dg.DagsterInstance.ephemeral() as instance:
        failure = _failure(Graph(away, instance).run("__ASSET_JOB", assets=assets))
    assert "No server listens on the host and port of NEXUS_DATABASE_URL" in failure
    assert "what to do" in failure
