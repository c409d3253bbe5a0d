"""Odd contents of number, date and time fields: every door gives the same rows, or the record is named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fm_pipeline.entities.exports import export_options
from fm_pipeline.entities.profile import Profile, load_profile
from fm_pipeline.entities.resolution import resolve
from fm_pipeline.entities.rules import load_rules
from fm_pipeline.filemaker.door import Door, Reading
from fm_pipeline.filemaker.exports.door import ExportsDoor
from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.options import ExportOptions
from fm_pipeline.filemaker.model import FileMakerRecord
from fm_pipeline.filemaker.values import parse_number
from fm_pipeline.preflight import lost_values
from fm_pipeline.preflight.finding import FindingBuilder
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.filemaker.exporting import Exporter
from fm_pipeline.staging.extract import DigestedRows, canonical_rows
from fm_pipeline_tests.filemaker.conftest import Clinic, clinic_on
from fm_pipeline_tests.sandbox.filemaker.running import StandIn

TYPES: Mapping[str, Any] = {
    "filemaker_id": "text",
    "patient": "number",
    "start": "timestamp",
    "start_date": "date",
    "start_time": "time",
    "reason": "number",
}
ENTITY = "appointment"
COLUMNS = {"columns": list(TYPES), "dates": "mdy", "decimal": "point"}
MAPPING = {"layout": ["Rows"], "fields": {name: [name] for name in TYPES}, "export": COLUMNS}
# Excel does not tell a midnight from a day, so no timestamp is one. `.tab`, `.xml` and `.xlsx` cannot hold control
# characters.
_anything = st.text(st.characters(exclude_categories=["C"]), max_size=6)
_numbers = st.sampled_from(
    [
        *("", "7", " 7 ", "007", "-3", ".5", "-.5", "1.50", "1e3", "+4", "0.1", "12345678901234567890", "1.2.3", "?"),
        *("12 kg", "12-A", "n/a", "1,5", "1/2", "<7", "--", "٣", "1E", "0x1F", "1 2", "five"),
    ]
)
_dates = st.sampled_from(["", "1815-12-10", "0001-01-01", "9999-12-31", "2024-02-30", "?", "3/4/20", "in spring"])
_times = st.sampled_from(["", "9:05", "1:30 PM", "23:59:59", "30:15:00", "12:00:00.5", "noon", "25", "?"])
_moments = st.sampled_from(["", "2024-03-01 09:30:00", "1899-12-31 00:00:00", "2024-03-01 25:00:00", "3/4/20", "?"])
_rows = st.lists(
    st.fixed_dictionaries(
        {
            "patient": _numbers | _anything,
            "reason": _numbers,
            "start": _moments | _anything,
            "start_date": _dates | _anything,
            "start_time": _times | _anything,
        }
    ),
    min_size=1,
    max_size=12,
)


def _rows_of(door: Door, profile: Profile) -> dict[int, dict[str, Any]]:
    """The records as an extraction stores them."""
    resolution = resolve(profile, ENTITY, door.tables(), door.fields, door.kind)

    def canonical(records: Iterator[FileMakerRecord]) -> dict[int, dict[str, Any]]:
        return {
            int(str(row[1])): json.loads(str(row[-1]))
            for row in canonical_rows(resolution, records, (), DigestedRows())
        }

    return door.read(Reading(resolution.layout, resolution.fields), canonical)


def _named(clinic: Clinic, profile: Profile, types: Sequence[str]) -> set[int]:
    """The records that `check --full` names."""
    build = FindingBuilder(load_rules(None, profile.registry), "records")
    with clinic.client() as client:
        found = lost_values.check_lost_values(
            *(client, profile, build), entities=[ENTITY], types=types, page_size=100, is_same_account=False
        )
        return {int(each) for finding in found for each in finding.found.rpartition(": ")[2].split(", ")}


def test_every_door_gives_the_same_rows_or_the_record_is_named(
    served: tuple[Store, StandIn], tmp_path_factory: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(lost_values, "IDS_SHOWN", 100)

    @settings(max_examples=15, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None)
    @given(rows=_rows)
    def agree(rows: list[dict[str, str]]) -> None:
        folder: Path = tmp_path_factory.mktemp("doors")
        usual = yaml.safe_load(resources.files("fm_pipeline.entities").joinpath("nexus.yaml").read_text("utf-8"))
        (folder / "profile.yaml").write_text(yaml.safe_dump(usual | {ENTITY: MAPPING}))
        profile = load_profile(folder / "profile.yaml")
        with clinic_on(*served) as clinic:
            fields = [FieldDefinition(name, kind) for name, kind in TYPES.items()]
            clinic.layout("Rows", fields, [{"filemaker_id": f"a{at}", **row} for at, row in enumerate(rows)])
            with clinic.data_api() as door:
                expected = _rows_of(door, profile)
            with clinic.odata() as opened:
                _compare(_rows_of(opened, profile), expected, _named(clinic, profile, lost_values.NUMBERS_AND_DATES))
            of_numbers = _named(clinic, profile, lost_values.NUMBERS)
            for suffix in ("tab", "csv", "mer", "xml", "xlsx"):
                (files := folder / suffix).mkdir()
                Exporter(clinic.store, clinic.database).export("Rows", files / f"Rows.{suffix}")
                with ExportsDoor(files, export_options(profile)) as exported, suppress(ExportStop):
                    _compare(_rows_of(exported, profile), expected, of_numbers if suffix in ("csv", "mer") else set())

    agree()


def test_a_related_field_is_that_of_the_first_related_record_through_every_door(clinic: Clinic, tmp_path: Path) -> None:
    towns = [("a", "", 7), ("a", "Perth", 8), ("b", "Hobart", 9), ("", "Cairns", 1)]
    clinic.layout(
        "Towns",
        ["of", "name", FieldDefinition("number", "number")],
        [{"of": of, "name": name, "number": number} for of, name, number in towns],
    )
    clinic.layout("Rows", ["id"], [{"id": own} for own in ("a", "b", "c")])
    clinic.store.create_occurrence(clinic.database, "Rows", "Home", "Towns", ("id", "of"))
    clinic.store.create_layout(clinic.database, "Visits", "Rows", ["id", "Home::name", "Home::number"])
    expected = [["a", "", 7], ["b", "Hobart", 9], ["c", "", ""]]
    with clinic.data_api() as door:
        assert _values_of(door) == expected
    names = ("id", "Home::name", "Home::number")
    for suffix in ("tab", "csv", "mer", "xml", "xlsx"):
        (files := tmp_path / suffix).mkdir()
        Exporter(clinic.store, clinic.database).export("Visits", files / f"Visits.{suffix}")
        said = ExportOptions(("Visits",), frozenset({"id", "home::name"}), columns=names)
        with ExportsDoor(files, [said]) as exported:
            assert [[parse_number(str(value)) for value in row] for row in _values_of(exported)] == expected, suffix


def _values_of(door: Door) -> list[list[Any]]:
    return door.read(
        Reading("Visits", door.fields("Visits")), lambda records: [list(record.fields.values()) for record in records]
    )


def _compare(found: dict[int, dict[str, Any]], expected: dict[int, dict[str, Any]], named: set[int]) -> None:
    """Hold the rows of a door against those of the Data API. A file of text does not know which fields hold numbers."""
    assert found.keys() == expected.keys()
    assert {at for at in found if _read(found[at]) != _read(expected[at])} <= named


def _read(row: dict[str, Any]) -> dict[str, Any]:
    return {name: parse_number(value) if isinstance(value, str) else value for name, value in row.items()}
