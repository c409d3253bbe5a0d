"""A reimport may pass over layouts that are as its plan read them, and reads whatever it cannot be sure of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import dagster as dg
import pytest

from fm_pipeline.definitions import build_defs
from fm_pipeline.sequence.read_and_stage import read_and_stage
from fm_pipeline_tests.sequence.nights import Nights, nights
from fm_pipeline_tests.sequence.nights_clinic import Clinic
from fm_pipeline_tests.sequence.nights_systems import LAYOUTS
from fm_pipeline_tests.support.clinics import DATABASE
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL


@pytest.fixture(scope="module")
def clinics(postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """Makes a clinic for each test."""
    with nights(postgresql, tmp_path_factory.mktemp("unchanged")) as made:
        yield made


@pytest.fixture
def clinic(clinics: Nights) -> Iterator[Clinic]:
    """A clinic that trusts unchanged layouts, just read whole as for a plan."""
    with clinics.clinic() as clinic:
        clinic.bench = clinic.bench.with_settings(reimport_trusts_unchanged_layouts=True)
        read_and_stage(clinic.bench.settings)
        yield clinic


def extractions(clinic: Clinic) -> dict[str, str]:
    """The extraction of each entity."""
    return dict(clinic.bench.execute("SELECT entity, extraction_id::text FROM fm_pipeline.source_extractions"))


def read_again(clinic: Clinic, *, after_plan: bool = True) -> set[str]:
    """Read as a reimport does; return the entities that were read again."""
    before = extractions(clinic)
    read_and_stage(clinic.bench.settings, after_plan=after_plan)
    return {entity for entity, extraction in extractions(clinic).items() if before[entity] != extraction}


def edit_note(clinic: Clinic, **fields: str) -> None:
    """Edit the first note."""
    note = next(clinic.model.of("note"))
    clinic.bench.store.edit(DATABASE, LAYOUTS["note"], note.record_id, fields)


def test_layouts_that_are_as_the_plan_read_them_are_not_read_again(clinic: Clinic) -> None:
    pages = clinic.bench.stand_in.counters()["requests"]
    assert read_again(clinic) == set()
    assert clinic.bench.stand_in.counters()["requests"] != pages  # it has asked


def test_a_plan_reads_every_layout_and_a_reimport_too_by_default(clinic: Clinic) -> None:
    assert read_again(clinic, after_plan=False) == {"patient", "appointment", "note"}
    clinic.bench = clinic.bench.with_settings(reimport_trusts_unchanged_layouts=False)
    assert read_again(clinic) == {"patient", "appointment", "note"}


def test_in_dagster_the_reimport_passes_over_them_and_the_plan_does_not(clinic: Clinic) -> None:
    defs = build_defs(read_settings=lambda: clinic.bench.settings)
    read = []
    for job in ("full_reimport", "plan_reimport"):
        before = extractions(clinic)
        with dg.DagsterInstance.ephemeral() as instance:
            notes = [dg.AssetKey("filemaker_notes")]
            assert defs.resolve_job_def(job).execute_in_process(instance=instance, asset_selection=notes).success
        read.append(extractions(clinic)["note"] != before["note"])
    assert read == [False, True]


def test_only_the_layout_with_an_edited_record_is_read(clinic: Clinic) -> None:
    edit_note(clinic, content="edited", modified=dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    assert read_again(clinic) == {"note"}


def test_an_edit_that_leaves_the_time_of_modification_is_found_if_it_is_in_the_sample(clinic: Clinic) -> None:
    edit_note(clinic, content="edited by a script")
    assert read_again(clinic) == {"note"}


def test_a_layout_with_more_or_fewer_records_is_read(clinic: Clinic) -> None:
    clinic.bench.store.delete(DATABASE, LAYOUTS["note"], next(clinic.model.of("note")).record_id)
    assert read_again(clinic) == {"note"}
    clinic.bench.store.insert(DATABASE, LAYOUTS["note"], [{"id": "a new one", "modified": "2001-02-03T04:05:06"}])
    assert read_again(clinic) == {"note"}


def test_a_reading_is_trusted_for_a_day(clinic: Clinic) -> None:
    clinic.bench.execute("UPDATE fm_pipeline.source_readings SET whole_at = now() - interval '25 hours'")
    assert read_again(clinic) == {"patient", "appointment", "note"}


def test_over_odata_every_layout_is_read(clinic: Clinic) -> None:
    clinic.bench = clinic.bench.with_settings(filemaker_door="odata")
    read_again(clinic)
    assert read_again(clinic) == {"patient", "appointment", "note"}
