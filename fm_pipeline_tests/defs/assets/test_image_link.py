"""The link in the graph: the run that the UI starts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fm_pipeline.definitions import build_defs
from fm_pipeline.images.linking.steps import write_rows
from fm_pipeline.status.history import last_run_report
from fm_pipeline.storage.client import BULK_PREFIX
from fm_pipeline_tests.images.scene import Scene, jpeg
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.services import LazyStack


class LinkRun:
    """A code location for a scene, in an instance that is forgotten afterwards."""

    def __init__(self, scene: Scene, instance: dg.DagsterInstance) -> None:
        self.scene, self.instance = scene, instance
        scene.bench = scene.bench.with_settings(image_export_file=scene.export_file)
        self.job = build_defs(read_settings=lambda: scene.bench.settings).resolve_job_def("link_images")

    def __call__(self, **config: Any) -> Any:
        return self.job.execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            run_config={"ops": {"patient_image_copies": {"config": config}}},
        )

    def metadata(self, asset: str) -> dict[str, Any]:
        """Of the newest materialization."""
        event = self.instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert event is not None
        assert event.asset_materialization is not None
        return {key: value.value for key, value in event.asset_materialization.metadata.items()}


@pytest.fixture
def link(bench: MigrationBench, stack: LazyStack, tmp_path: Path) -> Iterator[LinkRun]:
    """Three images, one without a date, and a file without a record."""
    scene = Scene(bench, BucketBench(stack.s3), tmp_path)
    for recid in (2, 3):
        scene.add(recid)
    scene.add(4, date="")
    scene.s3.put_bulk("99.jpg", jpeg(99))
    with dg.DagsterInstance.ephemeral() as instance:
        yield LinkRun(scene, instance)


def checks(result: Any) -> dict[str, bool]:
    """Whether each check passed."""
    return {each.check_name: each.passed for each in result.get_asset_check_evaluations()}


def test_one_run_links_and_a_second_one_finds_it_done(link: LinkRun) -> None:
    result = link(limit=1)
    assert result.success
    assert link.metadata("linked_images")["left_by_the_limit"] == 1
    result = link()
    assert result.success
    assert checks(result) == dict.fromkeys(
        ("bulk_dump_unchanged", "no_image_failed", "counts_add_up", "objects_exist"), True
    )
    shown = last_run_report(link.scene.bench.database_url, "image_link")
    assert (shown["report"]["total"], shown["dry_run"]) == (3, False)
    assert link.metadata("image_metadata_csv")["found"] == 3
    assert link.metadata("bulk_dump_inventory")["dagster/row_count"] == 4
    copies = link.metadata("patient_image_copies")
    assert copies["skipped_by_reason"] == {"no_date": 1}
    assert copies["files_without_record"] == 1
    assert link.metadata("linked_images")["linked"] == 1
    assert link.metadata("linked_images")["dagster/table_name"] == "public.images_image"
    assert link.metadata("linked_image_batches")["dagster/table_name"] == "public.images_batch"
    assert "Images linked:       1" in link.metadata("linked_images")["summary"]
    assert set(link.scene.images()) == {2, 3}
    written = link.scene.bench.settings.state_dir / "images" / "filemaker_images_metadata.csv"
    assert written.read_text("utf-8").count("\n") == 4
    digests = link.scene.bench.digests()
    assert link().success
    assert link.metadata("linked_images")["linked_before"] == 2
    assert link.scene.bench.digests() == digests


def test_the_export_and_the_bulk_dump_are_not_counted_while_users_wait_for_the_rows(link: LinkRun) -> None:
    # A transaction keeps a lock on each table that it has read.
    link.scene.bench.execute("""
        CREATE FUNCTION fm_pipeline.refuse_counts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            ASSERT NOT EXISTS (
                SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND relation IN
                ('fm_pipeline.bulk_dump_objects'::regclass, 'fm_pipeline.image_rejects'::regclass));
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse_counts BEFORE INSERT ON fm_pipeline.run_reports
        FOR EACH ROW EXECUTE FUNCTION fm_pipeline.refuse_counts()
    """)
    result = link()
    assert result.success
    report = last_run_report(link.scene.bench.database_url, "image_link")["report"]
    assert (report["total"], report["files"], report["files_without_record"]) == (3, 4, 1)


def test_a_dry_run_is_an_observation_and_what_comes_after_it_is_left_out(link: LinkRun) -> None:
    result = link(dry_run=True)
    assert result.success
    assert link.scene.images() == {}
    assert link.instance.get_latest_materialization_event(dg.AssetKey("patient_image_copies")) is None
    assert link.instance.get_latest_materialization_event(dg.AssetKey("linked_images")) is None
    (seen,) = link.instance.fetch_observations(dg.AssetKey("patient_image_copies"), limit=5).records
    assert seen.asset_observation is not None
    assert seen.asset_observation.metadata["linked"].value == 2


def test_failed_images_and_missing_objects_show_in_the_checks(link: LinkRun) -> None:
    link.scene.s3.put_bulk("3.jpg", b"<html>")
    result = link()
    assert result.success
    assert checks(result)["no_image_failed"] is False
    assert checks(result)["objects_exist"] is True
    link.scene.s3.delete(link.scene.images()[2][2])
    link.scene.s3.delete(f"{BULK_PREFIX}2.jpg")  # else it would be made again
    link.scene.s3.put_bulk("3.jpg", jpeg(3))
    found = checks(link())
    assert (found["no_image_failed"], found["objects_exist"]) == (False, False)


def test_the_list_of_what_is_not_linked_has_what_was_refused_at_the_rows(link: LinkRun) -> None:
    assert link().success
    link.scene.bench.execute("UPDATE images_batch SET object_id = %s", link.scene.patients[1][0])
    link.scene.add(5)
    assert link.scene.export_file.exists()  # written again
    assert link().success
    listed = (link.scene.bench.settings.state_dir / "images" / "not_linked.csv").read_text("utf-8").splitlines()
    mine = [f",{recid},error,linked_to_another_patient" for recid in (2, 3)]
    assert listed == ["line,recid,outcome,reason", ",4,skipped,no_date", *mine, ",5,error,batch_of_another_patient"]
    failed = (
        "SELECT report -> 'failed' FROM fm_pipeline.run_reports WHERE action = 'image_link' ORDER BY id DESC LIMIT 1"
    )
    assert link.scene.bench.execute(failed) == [
        ({"linked_to_another_patient": [2, 3], "batch_of_another_patient": [5]},)
    ]


def test_a_link_whose_list_cannot_be_written_after_the_rows_succeeds_and_its_report_says_so(
    link: LinkRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = link.scene.bench.settings.state_dir / "images"

    def write_rows_and_lose_the_folder(*arguments: Any, **options: Any) -> Any:
        rows = write_rows(*arguments, **options)
        shutil.rmtree(images)
        return rows

    monkeypatch.setattr("fm_pipeline.images.linking.steps.write_rows", write_rows_and_lose_the_folder)
    assert link(limit=1).success
    assert (images / "not_linked.csv").exists()

    def write_rows_and_fill_the_disk(*arguments: Any, **options: Any) -> Any:
        rows = write_rows(*arguments, **options)
        (images / "not_linked.csv.partial").symlink_to("/dev/full")
        return rows

    monkeypatch.setattr("fm_pipeline.images.linking.steps.write_rows", write_rows_and_fill_the_disk)
    assert link().success
    assert set(link.scene.images()) == {2, 3}
    assert last_run_report(link.scene.bench.database_url, "image_link")["report"]["linked"] == 1
    assert "cannot be written (No space left on device)" in link.metadata("linked_images")["lists"]


def test_a_run_that_is_killed_after_its_commit_is_on_record_also_if_it_has_only_repaired_batches(
    link: LinkRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert link().success
    link.scene.bench.execute("UPDATE images_batch SET object_id = gen_random_uuid()")

    def write_rows_and_die(*arguments: Any, **options: Any) -> Any:
        write_rows(*arguments, **options)
        raise RuntimeError

    monkeypatch.setattr("fm_pipeline.images.linking.steps.write_rows", write_rows_and_die)
    result = link()
    assert not result.success
    stored = last_run_report(link.scene.bench.database_url, "image_link")
    assert (stored["run_id"], stored["report"]["repaired"]) == (result.run_id, 1)


def test_without_an_export_the_run_says_which_setting_is_missing(link: LinkRun) -> None:
    link.scene.bench = link.scene.bench.with_settings(image_export_file=None)
    result = link()
    assert not result.success
    (event,) = [event for event in result.get_step_failure_events() if event.step_key == "image_metadata_csv"]
    assert "IMAGE_EXPORT_FILE is not set" in str(event.event_specific_data)


def test_copies_materialized_before_the_export_or_the_listing_stop_and_say_what_to_do(link: LinkRun) -> None:
    def failure(*assets: str) -> str:
        defs = build_defs(read_settings=lambda: link.scene.bench.settings)
        result = defs.resolve_job_def("__ASSET_JOB").execute_in_process(
            instance=link.instance, raise_on_error=False, asset_selection=[dg.AssetKey(name) for name in assets]
        )
        return " ".join(str(event.event_specific_data) for event in result.get_step_failure_events())

    assert "export of the images has never been read" in failure("patient_image_copies")
    assert failure("image_metadata_csv") == ""
    assert "The bulk dump has never been listed." in failure("patient_image_copies")
    assert failure("bulk_dump_inventory") == ""
    link.scene.bench = link.scene.bench.with_settings(s3_bulk_prefix="another/")
    assert "listing is of another bucket or folder" in failure("patient_image_copies")
    assert link.scene.images() == {}
