"""The same file through each door gives the same rows, in what is read and in what is staged."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.filemaker.door import Door
from fm_pipeline.filemaker.errors import UnreadableRecord
from fm_pipeline.staging.extract import extract
from fm_pipeline_tests.filemaker.conftest import Clinic
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, migration_bench, small_clinic

SCALE = 0.005  # a hundred records or two
Rows = list[tuple[Any, ...]]


def _read(bench: MigrationBench) -> Rows:
    """Every record as it was read."""
    return bench.execute(
        "SELECT entity, record_id, mod_id, filemaker_key, patient_key, parent_keys, fields::text"
        " FROM fm_pipeline.source_records ORDER BY entity, record_id"
    )


def _staged(bench: MigrationBench) -> dict[str, Rows]:
    """Number of rows and a digest of every staged table, but for what says when and from what it was built."""
    tables = bench.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'fm_pipeline'::regnamespace AND relkind = 'r'"
        " AND relname ~ '^(staged|quarantine)' AND relname <> 'staged_builds'"
    )
    digest = (
        "SELECT count(*), md5(string_agg((to_jsonb(t) - 'inputs')::text, '' ORDER BY t::text)) FROM fm_pipeline.{} t"
    )
    return {table: bench.execute(digest.format(table)) for (table,) in tables}


@pytest.mark.parametrize("profile", ["nexus", "wep"])
def test_odata_gives_the_rows_of_the_data_api(
    database_url: str, profile: Literal["nexus", "wep"], tmp_path: Path
) -> None:
    with migration_bench(database_url, tmp_path, small_clinic(SCALE), profile) as bench:
        bench.extract_and_stage()
        records, staged = _read(bench), _staged(bench)
        bench.with_settings(filemaker_door="odata").extract_and_stage()
        assert {entity for entity, *_ in records} == set(load_profile(profile).entities)
        assert _read(bench) == records
        assert _staged(bench) == staged
        assert len(staged) > len(load_profile(profile).entities) / 2
        assert "odata_rows" in bench.stand_in.counters()["requests"]


def test_a_record_that_one_door_cannot_send_stops_that_door_only(clinic: Clinic, migrated_url: str) -> None:
    clinic.notes(5)
    broken = {"table": "API_Notes", "record_id": 3, "field": "note", "as": "control_characters"}
    with connect(migrated_url) as nexus, clinic.data_api() as data_api, clinic.odata() as odata:
        one, other = (partial(_digest_of_notes, door, nexus) for door in (data_api, odata))
        expected = one()
        clinic.server.faults(broken_values=[broken | {"door": "odata"}])
        with pytest.raises(UnreadableRecord, match="the record 3 of API_Notes as invalid JSON in note"):
            other()
        assert one() == expected
        clinic.server.faults(broken_values=[broken | {"door": "data_api"}])
        with pytest.raises(UnreadableRecord, match="the record 3 of the layout as invalid JSON"):
            one()
        assert other() == expected


def _digest_of_notes(door: Door, nexus: Connection) -> str:
    return extract(door, nexus, load_profile("nexus"), "note", run_id=None, now=lambda: RUN_TIME).digest
