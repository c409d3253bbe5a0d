"""The asset: the same run from Dagster, with its plots, and nothing of a patient in the event log."""

from __future__ import annotations

from typing import Any

import dagster as dg

from fm_pipeline.definitions import build_defs, defs
from fm_pipeline.status.history import HistoryFilter, last_run_report, read_history
from fm_pipeline_tests.images.containers.clinic import ImageClinic
from fm_pipeline_tests.support.pictures import PDF, picture

SECRET = "Hallux of Wilhelmina"


def run(clinic: ImageClinic, instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    """The job, as the UI and the schedule start it."""
    job = build_defs(read_settings=lambda: clinic.settings).resolve_job_def("import_image_files")
    return job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"ops": {"filemaker_image_files": {"config": config}}} if config else None,
    )


def test_a_run_shows_which_containers_were_used(clinic: ImageClinic) -> None:
    clinic.add(1, Type=SECRET)
    clinic.add(2, image_Full=PDF, image_medium=picture(5))
    clinic.add(3, image_Full="")
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(clinic, instance)
        assert result.success
        assert SECRET not in str(result.all_events)
        (made,) = result.asset_materializations_for_node("filemaker_image_files")
    found = {key: value.value for key, value in made.metadata.items()}
    assert (found["dagster/row_count"], found["skipped"], found["left"]) == (2, 1, 1)
    assert r"image\_medium (50.0%) | 1 |" in str(found["containers"])
    assert "| all_containers_empty | 1 |" in str(found["not_imported"])
    assert found["passed_over"] == {"image_Full: pdf": 1}


def test_limit_and_the_number_a_day_and_the_dry_run_come_with_the_config(clinic: ImageClinic) -> None:
    for number in range(1, 8):
        clinic.add(number)
    clinic.settings = clinic.settings.model_copy(update={"filemaker_images_a_day": 3})
    with dg.DagsterInstance.ephemeral() as instance:
        assert run(clinic, instance, dry_run=True).success
        assert len(clinic.marked()) == 0
        assert run(clinic, instance, limit=2, batch_size=1).success
        assert len(clinic.marked()) == 2
        assert run(clinic, instance, daily=True).success
        assert len(clinic.marked()) == 5
    url = clinic.settings.nexus_database_url.get_secret_value()
    dry, last = (last_run_report(url, "image_import", dry_run=dry_run)["report"] for dry_run in (True, False))
    assert (dry["outcomes"]["imported"], dry["left"]) == (7, 7)
    assert (last["outcomes"]["imported"], last["left"], last["containers"]) == (3, 2, {"image_Full": 3})
    attempts, _ = read_history(url, HistoryFilter(kind="image_import"))
    assert [each["dry_run"] for each in attempts] == [False, False, True]


def test_a_run_that_stopped_early_has_failed_and_shows_what_it_did(clinic: ImageClinic) -> None:
    for number in range(1, 6):
        clinic.add(number)
    clinic.settings = clinic.settings.model_copy(
        update={"filemaker_image_failures": 1, "filemaker_image_pause_seconds": 0}
    )
    clinic.stand_in.disturb("bad_gateway", of=["container"], after=2, times=None)
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(clinic, instance, batch_size=2)
        assert not result.success
        (step,) = [event for event in result.all_events if event.is_step_failure]
        assert "wait an hour" in str(step.step_failure_data.error)
        (seen,) = instance.fetch_observations(dg.AssetKey("filemaker_image_files"), limit=1).records
        assert seen.asset_observation is not None
        assert seen.asset_observation.metadata["dagster/row_count"].value == 2
    (attempt,), _ = read_history(
        clinic.settings.nexus_database_url.get_secret_value(), HistoryFilter(kind="image_import")
    )
    assert (attempt["outcome"], attempt["has_report"]) == ("failed", True)


def test_the_schedule_takes_the_number_a_day_and_is_off() -> None:

    repository = dg.Definitions.get_repository_def(defs)
    schedule = repository.get_schedule_def("daily_image_import")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    with dg.DagsterInstance.ephemeral() as instance:
        tick = schedule.evaluate_tick(dg.build_schedule_context(instance))
    (request,) = tick.run_requests or []
    assert request.run_config == {"ops": {"filemaker_image_files": {"config": {"daily": True}}}}
