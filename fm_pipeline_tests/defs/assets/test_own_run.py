"""What writes without a plan runs only in a run of its own, however the run was launched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARENT_BACKFILL_ID_TAG

from fm_pipeline.definitions import build_defs, defs
from fm_pipeline.defs.assets import dicom, image_files, image_link
from fm_pipeline_tests.support.clinics import MigrationBench

SYSTEMS = {system.job: system for system in (dicom.SYSTEM, image_files.SYSTEM, image_link.SYSTEM)}
STEPS = {
    "dicom_import": {"imported_dicom_files"},
    "import_image_files": {"filemaker_image_files"},
    "link_images": {"image_metadata_csv", "bulk_dump_inventory"},  # the others come after them
}
DICOM = ("dicom_inventory", "orthanc_instances")
REFUSED = "so it runs only when it alone was selected"


class Launcher:
    """A code location for a small clinic. Without S3 and Orthanc: what gets as far as asking for them has begun."""

    def __init__(self, bench: MigrationBench, instance: dg.DagsterInstance) -> None:
        self.bench, self.instance = bench, instance
        self.defs = build_defs(read_settings=lambda: bench.settings)

    def __call__(self, *assets: str, tags: dict[str, str] | None = None) -> dict[str, str]:
        """Launch the assets as "Materialize" does; what each failed step says."""
        result: Any = self.defs.resolve_job_def("__ASSET_JOB").execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(name) for name in assets] or None,
            tags=tags,
        )
        return {e.step_key: str(e.event_specific_data.error.message) for e in result.all_events if e.is_step_failure}

    def written(self) -> list[tuple[Any, ...]]:
        """What the three systems leave behind before they meet their servers."""
        if self.bench.execute("SELECT to_regclass('fm_pipeline.import_jobs')") == [(None,)]:
            return []
        return self.bench.execute(
            "SELECT job_type FROM fm_pipeline.import_jobs UNION ALL SELECT action FROM fm_pipeline.audit"
            " WHERE action NOT IN ('reimport', 'plan')"
        )


@pytest.fixture
def launch(bench: MigrationBench) -> Iterator[Launcher]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Launcher(bench, instance)


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_each_system_names_all_assets_of_its_group_and_of_its_job(system: Any) -> None:
    graph = defs.resolve_asset_graph()
    assert system.assets == {key for key in graph.get_all_asset_keys() if graph.get(key).group_name == system.group}
    assert system.assets == defs.resolve_job_def(system.job).asset_layer.selected_asset_keys


def test_materialize_all_starts_nothing_that_has_no_plan(launch: Launcher) -> None:
    before = launch.bench.digests()
    said = launch()
    refused = {step for step, sentence in said.items() if REFUSED in sentence}
    assert refused == STEPS["dicom_import"] | STEPS["link_images"]
    assert "needs a plan and a confirmation" in said["preflight"]
    assert launch.written() == []
    assert launch.bench.digests() == before


WIDER = [
    ("dicom_import", ("preflight",)),
    ("link_images", ("reimport_plan",)),
    ("dicom_import", ("filemaker_image_files",)),
    ("import_image_files", ("orthanc_instances", "dicom_inventory")),
    ("link_images", ("filemaker_image_files", "crosswalk")),
]


def test_one_asset_of_another_system_is_enough_to_refuse(launch: Launcher) -> None:
    before = launch.bench.digests()
    for job, others in WIDER:
        said = launch(*others, *(key.to_user_string() for key in SYSTEMS[job].assets))
        sentences = [sentence for step, sentence in said.items() if step in STEPS[job]]
        assert sentences, (job, others)
        for sentence in sentences:
            assert REFUSED in sentence, (job, others)
            assert f"Launch the job {job}" in sentence
            assert others[-1] in sentence
        assert launch.written() == [], (job, others)
    assert launch.bench.digests() == before


@pytest.mark.parametrize("job", SYSTEMS)
def test_its_own_assets_materialized_by_hand_do_their_work(launch: Launcher, job: str) -> None:
    """Here as far as the first setting that the clinic lacks; with all settings the jobs' own tests."""
    said = launch(*(key.to_user_string() for key in SYSTEMS[job].assets))
    assert said.keys() <= STEPS[job] | {"patient_image_copies"}
    assert not any(REFUSED in sentence for sentence in said.values())
    assert any(name in " ".join(said.values()) for name in ("No directory", "S3_BUCKET", "IMAGE_EXPORT_FILE"))


def test_a_part_of_a_wider_backfill_is_as_wide_as_the_backfill_and_so_is_its_repetition(launch: Launcher) -> None:
    own = [key.to_user_string() for key in SYSTEMS["dicom_import"].assets]

    def backfill(name: str, *assets: str, of: str | None = None) -> str:
        """What the step says in a run of a backfill of these assets, which may repeat another one."""
        selection = [dg.AssetKey(asset) for asset in assets]
        tags = {PARENT_BACKFILL_ID_TAG: of} if of else {}
        launch.instance.add_backfill(
            PartitionBackfill(
                backfill_id=name,
                status=BulkActionStatus.REQUESTED,
                from_failure=False,
                tags=tags,
                backfill_timestamp=0.0,
                asset_selection=selection,
            )
        )
        return launch(*DICOM, tags={BACKFILL_ID_TAG: name})["imported_dicom_files"]

    assert REFUSED in backfill("wider", "preflight", *own)
    assert REFUSED in backfill("its repetition", *own, of="wider")
    assert REFUSED not in backfill("its own", *own)
    assert REFUSED not in backfill("a repetition of its own", *own, of="its own")
