"""Companies, referrers and whose they are: the tables that profile `wep` adds to those of the import sequence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from fm_pipeline.preflight.preflight import preflight
from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, migration_bench, small_clinic

LATER = RUN_TIME + dt.timedelta(days=1)
ADDED = ("companies", "referrers", "patient_referrers")


@pytest.fixture
def wep(database_url: str, tmp_path: Path) -> Iterator[MigrationBench]:
    """The small clinic in the layouts of its users."""
    with migration_bench(database_url, tmp_path, small_clinic(), "wep") as running:
        yield running


def test_companies_referrers_and_whose_they_are_become_what_the_oracle_says(wep: MigrationBench) -> None:
    expected = small_clinic().expected(profile="wep")
    report = wep.extract_and_stage().reimport()
    assert wep.differences(expected) == []
    for name in ADDED:
        change, wanted = report.tables[name], expected.changes[name]
        assert (change.before, change.deleted, change.inserted, change.updated, change.after) == (
            wanted.before,
            0,
            wanted.inserted,
            wanted.updated,
            wanted.after,
        )
    assert {ends.entity: ends.loaded for ends in report.sources} == {
        entity: ends.loaded for entity, ends in expected.sources.items()
    }
    assert wep.extract_and_stage().reimport(LATER).changed_rows == 0


def test_what_nexus_or_filemaker_does_not_have_is_left_out_and_check_and_plan_say_so(
    wep: MigrationBench, tmp_path: Path
) -> None:
    wep.execute("DROP TABLE patient_referrers; ALTER TABLE referrers DROP COLUMN practice")
    text = resources.files("fm_pipeline.entities").joinpath("wep.yaml").read_text("utf-8")
    profile = tmp_path / "clinic.yaml"
    profile.write_text(text.replace("[API_Company]", "[API_Firms]"), "utf-8")
    wep = wep.with_settings(filemaker_profile=str(profile))
    said = {f.found for f in preflight(wep.settings) if f.rule == "entity_left_out"}
    plan = wep.extract_and_stage().plan().report
    assert {"companies", "patient_referrers"} & plan.tables.keys() == set()
    assert sorted(plan.left_out) == [
        "company is left out. FileMaker has no layout API_Firms, which company is read from.",
        "patient_referrer is left out: the schema public has no table patient_referrers.",
        "referrers.company_id is left out: so is company.",
        "referrers.practice is left out: the table has no such column.",
    ]
    assert {sentence.rstrip(".") for sentence in plan.left_out} == said
    assert "the table has no such column" in plan.as_markdown()


def test_a_sync_over_odata_leaves_out_what_filemaker_does_not_have(wep: MigrationBench, tmp_path: Path) -> None:
    text = resources.files("fm_pipeline.entities").joinpath("wep.yaml").read_text("utf-8")
    profile = tmp_path / "clinic.yaml"
    profile.write_text(text.replace("[API_Company]", "[API_Firms]"), "utf-8")
    wep = wep.with_settings(filemaker_profile=str(profile), filemaker_door="odata")
    assert read_changes_and_stage(wep.settings)
    assert wep.execute("SELECT count(*) FROM fm_pipeline.source_extractions WHERE entity = 'company'") == [(0,)]
