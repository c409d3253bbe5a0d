"""Dates that people typed into text fields: their order is proved or named, never guessed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect
from fm_pipeline.entities.exports import export_options
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.filemaker.door import Door
from fm_pipeline.filemaker.exports.door import ExportsDoor
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition
from fm_pipeline.sandbox.filemaker.exporting import Exporter
from fm_pipeline.staging.extract import extract
from fm_pipeline.staging.values.typed_dates import TypedDates
from fm_pipeline_tests.filemaker.conftest import Clinic
from fm_pipeline_tests.staging.bench import Staging, a_patient, uuid_of

FIELDS = ("id", "patient_id", "note", "typed", "other")
MAPPING = {
    "layout": ["Visits"],
    "fields": {"filemaker_id": ["id"], "patient": ["patient_id"], "start": ["typed"], "end": ["other"]},
}


@pytest.fixture
def nexus(migrated_url: str) -> Iterator[Connection]:
    """A connection to a database with the pipeline's schema."""
    with connect(migrated_url) as connection:
        yield connection


def orders(door: Door, nexus: Connection, folder: Path, **more: Any) -> dict[str, str | None]:
    """What an extraction through a door finds out of each field."""
    usual = yaml.safe_load(resources.files("fm_pipeline.entities").joinpath("nexus.yaml").read_text("utf-8"))
    (folder / "profile.yaml").write_text(yaml.safe_dump(usual | {"appointment": MAPPING | more}))
    profile = load_profile(folder / "profile.yaml")
    if isinstance(door, ExportsDoor):
        door = ExportsDoor(folder, export_options(profile))
    extract(door, nexus, profile, "appointment", run_id=None, now=lambda: dt.datetime.now(dt.UTC))
    with nexus.cursor() as cursor:
        cursor.execute("SELECT date_orders FROM fm_pipeline.source_extractions WHERE entity = 'appointment'")
        ((found,),) = cursor.fetchall()
        return dict(found)


def test_every_door_with_types_finds_out_the_order_of_the_dates_in_a_text_field(
    clinic: Clinic, nexus: Connection, tmp_path: Path
) -> None:
    typed = ["3/4/2016", "18/10/2016 09:30", "2016-02-03", "in spring", ""]
    others = ["3/4/2016", "4/5/2016", "", "", ""]
    rows = [
        {"id": f"v{n}", "typed": day, "other": other} for n, (day, other) in enumerate(zip(typed, others, strict=True))
    ]
    clinic.layout("Visits", FIELDS, rows)
    Exporter(clinic.store, clinic.database).export("Visits", tmp_path / "Visits.xml")
    with clinic.data_api() as data_api, clinic.odata() as odata, ExportsDoor(tmp_path, []) as exports:
        for door in (data_api, odata, exports):
            assert orders(door, nexus, tmp_path) == {"start": "dmy", "end": None}
            assert orders(door, nexus, tmp_path, dates="mdy") == {"start": "mdy", "end": "mdy"}


def test_a_date_field_needs_no_proof(clinic: Clinic, nexus: Connection, tmp_path: Path) -> None:
    fields = [FieldDefinition(name, "date" if name in ("typed", "other") else "text") for name in FIELDS]
    clinic.layout("Visits", fields, [{"id": "v1", "typed": "2016-03-04"}])
    with clinic.data_api() as door:
        assert orders(door, nexus, tmp_path) == {}


@pytest.mark.parametrize(
    ("order", "text", "read"),
    [
        ("dmy", "3/4/2016", "2016-04-03"),
        ("mdy", "3/4/2016", "2016-03-04"),
        ("dmy", "18.10.2016 9:30", "2016-10-18T09:30:00"),
        (None, "18/10/2016", "2016-10-18"),
        (None, "10/18/2016", "2016-10-18"),
        (None, "4/4/2016", "2016-04-04"),
        (None, "2016-04-03", "2016-04-03"),
        (None, "in spring", "in spring"),
    ],
)
def test_a_typed_date_is_read_in_the_order_of_its_field(order: Any, text: str, read: str) -> None:
    assert TypedDates(order).read(text) == (read, [])


def test_a_typed_date_that_could_be_two_days_stops(staging: Staging) -> None:
    people = [a_patient(filemaker_id=uuid_of(n), dob=dob) for n, dob in enumerate(("3/4/1950", "18/10/1950"), start=1)]
    staging.extract("patient", people)
    staging.build("patient")
    assert staging.rows("staged_patients", "dob::text") == ["1950-03-04", None]  # of a date field, month first
    for order, born, ends in (
        ("null", ["1950-10-18"], {1: "date_order_unknown", 2: "ready"}),
        ('"dmy"', ["1950-04-03", "1950-10-18"], {1: "ready", 2: "ready"}),
    ):
        staging.execute(
            "UPDATE fm_pipeline.source_extractions SET date_orders = jsonb_build_object('dob', %s::jsonb)", (order,)
        )
        staging.build("patient")
        assert staging.rows("staged_patients", "dob::text") == born
        assert staging.ends("patient") == ends
