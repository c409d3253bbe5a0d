"""The sensor that tells of runs, over real runs of a real instance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.sensors.mail import Watermark, reimport_mails
from fm_pipeline.errors import PlanStop, SettingsError
from fm_pipeline.notifications.send_run_emails import run_emails
from fm_pipeline.sandbox.stack.smtp import SmtpService
from fm_pipeline.settings import Settings
from fm_pipeline_tests.support.mail import mail_settings, mails_of, make_due, text_of
from fm_pipeline_tests.support.services import LazyStack

CANARY = "Zephyrine Quollthorpe"


@dg.op
def succeeding() -> None:
    """All went well."""


@dg.op
def stopping() -> None:
    with explained():
        raise PlanStop("There is no plan.", meaning="Nothing was changed.", remedy="Make one.")


@dg.op
def breaking() -> None:
    raise ValueError(CANARY)


class Bench:
    """An instance, the sensor, and its cursor from tick to tick."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings) -> None:
        self.instance, self.settings = instance, settings
        self.cursor: str | None = None

    def tick(self) -> str:
        """One tick; what it says."""
        context = dg.build_sensor_context(self.instance, cursor=self.cursor)
        result = reimport_mails(lambda: self.settings)(context)
        assert isinstance(result, dg.SkipReason)
        self.cursor = context.cursor
        return result.skip_message or ""

    def run(self, op: dg.OpDefinition, job: str = "full_reimport", tags: Mapping[str, str] | None = None) -> str:
        """A run to its end; its id."""
        result = (
            dg.GraphDefinition(job, node_defs=[op])
            .to_job()
            .execute_in_process(instance=self.instance, raise_on_error=False, tags=tags)
        )
        return result.run_id

    def begin(self, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED, **more: object) -> dg.DagsterRun:
        """A run that goes on in some other process."""
        run = dg.DagsterRun(**({"job_name": "full_reimport", "status": status} | more))  # type: ignore[arg-type]
        return self.instance.add_run(run)


@pytest.fixture
def catcher(stack: LazyStack) -> SmtpService:
    return stack.mail


@pytest.fixture
def bench(tmp_path: Path, catcher: SmtpService) -> Iterator[Bench]:
    with dg.DagsterInstance.ephemeral() as instance:
        running = Bench(instance, mail_settings(tmp_path / "state", catcher.port))
        # A run that is made here for another process to carry out carries the second, not the time.
        first_on = datetime.now(UTC) - timedelta(minutes=1)
        running.cursor = Watermark(first_on, first_on).write()
        yield running


@pytest.fixture
def subjects(catcher: SmtpService) -> Callable[[str], list[str]]:
    return lambda run_id: [str(mail["Subject"]).split(":")[0].split(" (")[0] for mail in mails_of(catcher, run_id)]


def test_a_run_that_succeeds_is_told_once(bench: Bench, subjects: Callable[[str], list[str]]) -> None:
    run_id = bench.run(succeeding)
    for _ in range(3):
        bench.tick()
    assert subjects(run_id) == ["Reimport succeeded"]


def test_a_run_that_goes_on_is_told_at_its_start_and_at_its_end(
    bench: Bench, subjects: Callable[[str], list[str]]
) -> None:
    run = bench.begin()
    bench.tick()
    assert subjects(run.run_id) == ["Reimport started"]
    bench.instance.report_run_canceled(run)
    bench.tick()
    assert subjects(run.run_id) == ["Reimport started", "Reimport cancelled"]


def test_a_run_whose_machine_died_is_told_when_monitoring_has_found_it(bench: Bench, catcher: SmtpService) -> None:
    run = bench.begin()
    bench.instance.report_run_failed(run, f"Run worker lost while treating {CANARY}")
    bench.tick()
    (mail,) = mails_of(catcher, run.run_id)
    assert "Reimport failed" in text_of(mail)
    assert "the process of the run was ended" in text_of(mail)
    assert CANARY not in text_of(mail)


def test_why_a_run_failed_is_told_in_our_own_sentences(bench: Bench, catcher: SmtpService) -> None:
    run_id = bench.run(stopping)
    bench.tick()
    (mail,) = mails_of(catcher, run_id)
    assert "There is no plan.\nNothing was changed.\nMake one." in text_of(mail)
    assert f"http://dagster.example/runs/{run_id}" in text_of(mail)


def test_an_email_has_only_the_class_of_a_library_error(bench: Bench, catcher: SmtpService) -> None:
    run_id = bench.run(breaking)
    bench.tick()
    (mail,) = mails_of(catcher, run_id)
    assert "ValueError" in text_of(mail)
    assert CANARY.split(maxsplit=1)[0] not in text_of(mail)


def test_what_a_run_has_said_itself_the_sensor_does_not_repeat(
    bench: Bench, subjects: Callable[[str], list[str]]
) -> None:
    run = bench.begin()
    bench.tick()
    with pytest.raises(PlanStop), run_emails(bench.settings, run.run_id, warn=pytest.fail, in_dagster=True):
        raise PlanStop("There is no plan.")
    bench.instance.report_run_failed(run)
    bench.tick()
    assert subjects(run.run_id) == ["Reimport started", "Reimport failed"]


def test_runs_from_before_the_sensor_was_first_on_are_never_told(
    bench: Bench, subjects: Callable[[str], list[str]]
) -> None:
    bench.cursor = None
    before, going_on = bench.run(succeeding), bench.begin()
    bench.tick()
    bench.instance.report_run_canceled(going_on)
    bench.tick()
    assert subjects(before) == subjects(going_on.run_id) == []
    after = bench.run(succeeding)
    bench.tick()
    assert subjects(after) == ["Reimport succeeded"]


def test_runs_are_told_although_the_clock_was_ahead_at_the_tick_before(
    bench: Bench, subjects: Callable[[str], list[str]]
) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    bench.cursor = Watermark(ahead, ahead).write()
    bench.tick()
    run_id = bench.run(succeeding)
    bench.tick()
    assert subjects(run_id) == ["Reimport succeeded"]


def test_a_run_that_ended_after_the_clock_was_set_back_by_an_hour_is_told(
    bench: Bench, subjects: Callable[[str], list[str]]
) -> None:
    begin = Watermark.read(bench.cursor, datetime.now(UTC)).begin
    bench.cursor = Watermark(begin, begin - timedelta(days=1)).write()
    bench.run(succeeding)
    bench.tick()
    run_id = bench.run(succeeding)
    with bench.instance.run_storage.connect() as connection:  # type: ignore[attr-defined]  # of the kind in memory
        hour_before = (datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)).isoformat(" ")
        connection.execute(
            text("UPDATE runs SET update_timestamp = :at WHERE run_id = :id"), {"at": hour_before, "id": run_id}
        )
    bench.tick()
    assert subjects(run_id) == ["Reimport succeeded"]


def test_materialize_counts_when_a_phase_is_selected_and_no_other_run_does(
    bench: Bench, subjects: Callable[[str], list[str]]
) -> None:
    phases = bench.begin(job_name="__ASSET_JOB", asset_selection=frozenset({dg.AssetKey("patients")}))
    staging = bench.begin(job_name="__ASSET_JOB", asset_selection=frozenset({dg.AssetKey("staged_patients")}))
    plan = bench.begin(job_name="plan_reimport")
    bench.tick()
    assert subjects(phases.run_id) == ["Reimport started"]
    assert subjects(staging.run_id) == subjects(plan.run_id) == []


def test_a_plan_that_a_schedule_has_launched_is_told_once_when_it_failed(bench: Bench, catcher: SmtpService) -> None:
    of_schedule = dg.ScheduleDefinition(name="nightly_plan", job_name="plan_reimport", cron_schedule="0 2 * * *")
    tags = dg.DagsterRun.tags_for_schedule(of_schedule)
    failed = bench.run(stopping, "plan_reimport", tags)
    by_hand, well = bench.run(stopping, "plan_reimport"), bench.run(succeeding, "plan_reimport", tags)
    for _ in range(2):
        bench.tick()
    (mail,) = mails_of(catcher, f"plan-failed-{failed}")
    assert mail["Subject"] == "Plan failed: Nexus is unchanged"
    assert "There is no plan.\nNothing was changed.\nMake one." in text_of(mail)
    assert f"http://dagster.example/runs/{failed}" in text_of(mail)
    assert mails_of(catcher, by_hand) == mails_of(catcher, well) == []


def test_a_mail_that_nobody_took_is_tried_again_at_a_later_tick(
    bench: Bench, subjects: Callable[[str], list[str]]
) -> None:
    working = bench.settings
    bench.settings = working.model_copy(update={"smtp_port": 1})
    run_id = bench.run(succeeding)
    assert bench.tick() == "0 emails sent, 1 waiting."
    bench.settings = working
    make_due(working.state_dir)
    assert bench.tick() == "1 email sent, 0 waiting."
    assert subjects(run_id) == ["Reimport succeeded"]


def test_a_tick_that_is_killed_before_its_cursor_is_kept_repeats_nothing(
    bench: Bench, subjects: Callable[[str], list[str]]
) -> None:
    cursor = bench.cursor
    run_id = bench.run(succeeding)
    bench.tick()
    bench.cursor = cursor
    bench.tick()
    assert subjects(run_id) == ["Reimport succeeded"]


def test_without_settings_a_tick_fails_and_says_what_is_missing() -> None:
    def incomplete() -> Settings:
        raise SettingsError("The settings cannot be used: FILEMAKER_URL: is missing.")

    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(SettingsError, match="FILEMAKER_URL"):
        reimport_mails(incomplete)(dg.build_sensor_context(instance))


def test_the_cursor_is_a_watermark_and_reads_what_it_wrote(bench: Bench) -> None:
    assert bench.cursor
    assert len(bench.cursor) < 120
    assert Watermark.read(bench.cursor, datetime.now(UTC)).write() == bench.cursor
