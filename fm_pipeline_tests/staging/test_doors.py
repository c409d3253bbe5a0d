"""The same file through each door gives the same rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.door import DataApiDoor
from fm_pipeline.filemaker.door import Door
from fm_pipeline.filemaker.odata.client import ODataClient
from fm_pipeline.filemaker.odata.door import ODataDoor
from fm_pipeline.filemaker.transport import Transport
from fm_pipeline.sandbox.clinic.fill import fill_filemaker
from fm_pipeline.sandbox.clinic.generate import generate_clinic
from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.staging.extract import extract
from fm_pipeline_tests.sandbox.filemaker.running import running_stand_in

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def nexus(migrated_url: str) -> Iterator[Connection]:
    """A connection to a database with the pipeline's schema."""
    with connect(migrated_url) as connection:
        yield connection


def _read(door: Door, nexus: Connection, profile_name: str) -> dict[str, tuple[str, list[Any]]]:
    """Digest and rows of every entity."""
    profile = load_profile(profile_name)
    rows = {}
    for entity in profile.entities:
        result = extract(door, nexus, profile, entity, run_id=None, now=lambda: NOON, page_size=97)
        with nexus, nexus.cursor() as cursor:
            cursor.execute(
                "SELECT record_id, mod_id, filemaker_key, patient_key, parent_keys, fields"
                " FROM fm_pipeline.source_records WHERE entity = %s ORDER BY record_id",
                (entity,),
            )
            rows[entity] = (result.digest, cursor.fetchall())
    return rows


@pytest.mark.parametrize("profile", ["nexus", "wep"])
def test_odata_gives_the_rows_of_the_data_api(
    nexus: Connection, profile: Literal["nexus", "wep"], tmp_path: Path
) -> None:
    store = Store(tmp_path / "state.sqlite")
    fill_filemaker(store, generate_clinic(scale=0.02), "clinic", profile)
    store.add_account("clinic", ServerAccount("a", "b"))
    with running_stand_in(store) as server:
        with DataApiDoor(DataApiClient(server.base_url, "clinic", "a", "b")) as data_api:
            expected = _read(data_api, nexus, profile)
        transport = Transport(server.base_url, ca_bundle=None, timeout=60)
        with ODataDoor(ODataClient(transport, "clinic", "a", "b")) as odata:
            found = _read(odata, nexus, profile)
    store.close()
    assert found.keys() == expected.keys()
    for entity, (digest, rows) in expected.items():
        assert rows
        assert found[entity][1] == rows, entity
        assert found[entity][0] == digest
