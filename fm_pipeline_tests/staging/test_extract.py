"""Extraction from the stand-in into a real PostgreSQL: all records of an entity, or what was there before."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect
from fm_pipeline.entities.profile import Profile, load_profile
from fm_pipeline.entities.resolution import Resolution
from fm_pipeline.errors import LockStop, MappingError
from fm_pipeline.filemaker.data_api.client import fields_in
from fm_pipeline.filemaker.data_api.door import DataApiDoor
from fm_pipeline.filemaker.errors import ChangedWhileReading, FieldMissing, ServerUnavailable
from fm_pipeline.filemaker.model import FileMakerRecord, Value
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, ServerAccount
from fm_pipeline.staging.extract import DigestedRows, ExtractionResult, canonical_rows, extract, key_of
from fm_pipeline_tests.filemaker.conftest import Clinic

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def nexus(migrated_url: str) -> Iterator[Connection]:
    """A connection to a database with the pipeline's schema."""
    with connect(migrated_url) as connection:
        yield connection


def _extract(clinic: Clinic, nexus: Connection, profile: Profile | None = None, **options: Any) -> ExtractionResult:
    with clinic.client() as client:
        return extract(
            DataApiDoor(client),
            nexus,
            profile or load_profile("nexus"),
            "note",
            **{"run_id": "run 1", "now": lambda: NOON, "page_size": 3, **options},
        )


def _records(nexus: Connection) -> list[tuple[Any, ...]]:
    with nexus, nexus.cursor() as cursor:
        cursor.execute(
            "SELECT record_id, mod_id, filemaker_key, patient_key, fields::text FROM fm_pipeline.source_records"
            " WHERE entity = 'note' ORDER BY record_id"
        )
        return [(*row[:4], json.loads(row[4])) for row in cursor.fetchall()]


def _extraction(nexus: Connection) -> dict[str, Any]:
    with nexus, nexus.cursor() as cursor:
        cursor.execute("SELECT * FROM fm_pipeline.source_extractions WHERE entity = 'note'")
        (row,) = cursor.fetchall()
        return dict(zip([column.name for column in cursor.description or ()], row, strict=True))


def test_every_record_is_held_under_its_canonical_names(clinic: Clinic, nexus: Connection) -> None:
    clinic.notes(8)
    result = _extract(clinic, nexus)
    assert _records(nexus) == [
        (n, 0, f"n{n}", "p", {"filemaker_id": f"n{n}", "patient": "p", "content": f"text {n}"}) for n in range(1, 9)
    ]
    held = _extraction(nexus)
    assert (result.row_count, held["row_count"], held["found_count"]) == (8, 8, 8)
    assert held["fed_fields"] == ["content", "filemaker_id", "patient"] == list(result.fed_fields)
    assert result.unfed == ("note_type", "created_by", "created_at")
    assert (held["layout"], held["profile"], held["run_id"]) == ("API_Notes", "nexus", "run 1")
    assert held["source"] == f"{clinic.server.base_url}/{clinic.database}"
    assert held["started_at"] == held["finished_at"] == NOON


def test_an_empty_layout_leaves_no_record_of_an_earlier_extraction(clinic: Clinic, nexus: Connection) -> None:
    clinic.notes(2)
    _extract(clinic, nexus)
    for record_id in (1, 2):
        clinic.store.delete(clinic.database, "API_Notes", record_id)
    assert _extract(clinic, nexus).row_count == 0
    assert _records(nexus) == []


def test_hard_text_arrives_unchanged(clinic: Clinic, nexus: Connection) -> None:
    texts = [
        "\\N",
        "\\.",
        "a\\tb\tc\\",
        "O'Brien \"",
        "NA",
        "0412 345 678",
        "x\0y",
        "\u00a0 \u2028 \U0001f600",
        "a\rb\x0bc\x1d",
    ]
    rows = [{"id": f"n{n}", "patient_id": "p", "note": text} for n, text in enumerate(texts)]
    clinic.layout("API_Notes", ["id", "patient_id", "note"], rows)
    _extract(clinic, nexus)
    assert [row[4]["content"] for row in _records(nexus)] == texts


def test_keys_are_held_as_they_are_compared_and_empty_fields_not_at_all(clinic: Clinic, nexus: Connection) -> None:
    rows = [{"id": " A-1\t", "patient_id": "P", "note": ""}, {"id": "", "patient_id": " ", "note": "x"}]
    clinic.layout("API_Notes", ["id", "patient_id", "note"], rows)
    _extract(clinic, nexus)
    (_, _, key, patient, fields), (_, _, no_key, no_patient, other_fields) = _records(nexus)
    assert (key, patient, no_key, no_patient) == ("a-1", "p", None, None)
    assert fields == {"filemaker_id": " A-1\t", "patient": "P"}
    assert other_fields == {"content": "x"}


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (7, "7"),
        (7.0, "7"),
        (0, "0"),
        ("\0A\u00a0", "a"),
        ("A\ud83d", "a\N{REPLACEMENT CHARACTER}"),
        ("", None),
        (None, None),
    ],
)
def test_a_key_is_text_that_postgresql_can_hold_also_of_a_number(value: str | float | None, key: str | None) -> None:
    assert key_of(value) == key


def test_numbers_stay_numbers_and_other_text_in_a_number_field_stays_text(clinic: Clinic, nexus: Connection) -> None:
    fields = [FieldDefinition("id"), FieldDefinition("patient_id"), FieldDefinition("note", "number")]
    rows = [{"id": str(n), "patient_id": "p", "note": note} for n, note in enumerate([12, 1.5, "12 kg"])]
    clinic.layout("API_Notes", fields, rows)
    _extract(clinic, nexus)
    assert [row[4]["content"] for row in _records(nexus)] == [12, 1.5, "12 kg"]


def test_repetitions_are_joined_so_that_none_is_lost(clinic: Clinic, nexus: Connection) -> None:
    fields = [FieldDefinition("id"), FieldDefinition("patient_id"), FieldDefinition("note", repetitions=3)]
    rows = [
        {"id": "a", "patient_id": "p", "note(1)": "one", "note(3)": "three"},
        {"id": "b", "patient_id": "p", "note(2)": "two"},
    ]
    clinic.layout("API_Notes", fields, rows)
    _extract(clinic, nexus)
    assert [row[4]["content"] for row in _records(nexus)] == ["one\x1dthree", "two"]


def test_the_first_field_that_is_not_empty_in_the_record_counts(
    clinic: Clinic, nexus: Connection, tmp_path: Path
) -> None:
    text = (Path(__file__).parents[2] / "fm_pipeline/entities/nexus.yaml").read_text("utf-8")
    path = tmp_path / "other.yaml"
    path.write_text(text.replace("content: [note]", "content: [Note, text, elsewhere]"), "utf-8")
    rows = [
        {"id": "1", "patient_id": "p", "note": "a", "text": "b"},
        {"id": "2", "patient_id": "p", "note": "  ", "text": "b"},
    ]
    clinic.layout("API_Notes", ["id", "patient_id", "note", "text"], rows)
    _extract(clinic, nexus, load_profile(path))
    assert [row[4]["content"] for row in _records(nexus)] == ["a", "b"]
    assert _extraction(nexus)["profile"] == "other"


def test_equal_content_has_an_equal_digest_and_an_edit_another_one(clinic: Clinic, nexus: Connection) -> None:
    clinic.notes(5)
    first = _extract(clinic, nexus)
    again = _extract(clinic, nexus, page_size=1)
    assert again.digest == first.digest
    assert again.extraction_id != first.extraction_id
    clinic.store.edit(clinic.database, "API_Notes", 3, {"note": "other"})
    assert _extract(clinic, nexus).digest != first.digest


def test_a_reading_that_was_disturbed_by_a_deletion_is_thrown_away_and_begun_again(
    clinic: Clinic, nexus: Connection
) -> None:
    clinic.notes(9)
    delete = {"delete": {"table": "API_Notes", "record_id": 2}}
    clinic.server.faults(between_pages=[{"after": 2, "do": [delete]}])
    progress: list[tuple[int, int]] = []
    result = _extract(clinic, nexus, on_progress=lambda *counts: progress.append(counts))
    assert result.row_count == 8
    assert [row[0] for row in _records(nexus)] == [1, 3, 4, 5, 6, 7, 8, 9]
    assert progress[-1] == (8, 8)


def _prepare_bad_gateway(clinic: Clinic) -> None:
    clinic.server.disturb("bad_gateway", of=["records"], after=1, times=None)


def _prepare_editing(clinic: Clinic) -> None:
    steps = [{"after": n, "do": [{"delete": {"table": "API_Notes", "record_id": n}}]} for n in range(1, 60)]
    clinic.server.faults(between_pages=steps)


def _prepare_missing_field(clinic: Clinic) -> None:
    clinic.server.faults(missing_fields={"API_Notes": ["patient_id"]})


@pytest.mark.parametrize(
    ("prepare", "error", "says"),
    [
        (_prepare_bad_gateway, ServerUnavailable, "Admin Console"),
        (_prepare_editing, ChangedWhileReading, "when it is quiet"),
        (_prepare_missing_field, MappingError, "API_Notes has no field patient_id.*Place the field on the layout"),
    ],
)
def test_a_failed_extraction_leaves_the_earlier_one_whole(
    clinic: Clinic, nexus: Connection, prepare: Any, error: type[Exception], says: str
) -> None:
    clinic.notes(200)
    _extract(clinic, nexus, page_size=50)
    before = _records(nexus), _extraction(nexus)
    clinic.store.edit(clinic.database, "API_Notes", 39, {"note": "newer"})
    prepare(clinic)
    with pytest.raises(error, match=says):
        _extract(clinic, nexus, page_size=50)
    assert (_records(nexus), _extraction(nexus)) == before


def test_a_field_that_is_taken_off_the_layout_while_it_is_read_is_not_an_empty_field(
    clinic: Clinic, nexus: Connection
) -> None:
    clinic.notes(9)

    def take_away(_rows: int, _found: int) -> None:
        clinic.server.faults(missing_fields={"API_Notes": ["note"]})

    with pytest.raises(FieldMissing, match="API_Notes showed the field note, but its records came without it"):
        _extract(clinic, nexus, on_progress=take_away)
    assert _records(nexus) == []


@pytest.mark.parametrize("shown", [1, 2])
def test_repetitions_that_are_taken_off_the_layout_while_it_is_read_are_not_empty(
    clinic: Clinic, nexus: Connection, shown: int
) -> None:
    fields = [FieldDefinition("id"), FieldDefinition("patient_id"), FieldDefinition("note", repetitions=3)]
    names = [field.name for field in fields]
    rows = [{"id": f"n{n}", "patient_id": "p", "note(1)": "one", "note(3)": "three"} for n in range(9)]
    clinic.layout("API_Notes", fields, rows)

    def take_away(_rows: int, _found: int) -> None:
        clinic.store.create_layout(clinic.database, "API_Notes", "API_Notes", names, repetitions={"note": shown})

    with pytest.raises(FieldMissing, match="the field note with its 3 repetitions, but its records came without"):
        _extract(clinic, nexus, on_progress=take_away)
    assert _records(nexus) == []


@pytest.mark.parametrize(
    ("places", "row", "content"),
    [
        ((1, 3), {"note": "one", "note(1)": "one", "note(2)": "two", "note(3)": ""}, "one\x1dtwo"),
        ((1, 3), {"note": "one", "note(2)": "", "note(3)": "three"}, "one\x1dthree"),
        ((1, 1, 3, 3), {"note": "one", "note(3)": "three"}, "one\x1dthree"),
    ],
)
def test_a_field_that_is_placed_twice_is_read_with_and_without_the_number_of_its_first_repetition(
    places: tuple[int, ...], row: dict[str, Value], content: str
) -> None:
    described = [
        {"name": "note", "repetitionStart": first, "repetitionEnd": last}
        for first, last in zip(places[::2], places[1::2], strict=True)
    ]
    (field,) = fields_in([{"name": "note"}, *described])
    resolution = Resolution("note", "API_Notes", {"content": (field,)}, ())
    ((*_, text),) = canonical_rows(resolution, [FileMakerRecord(1, 0, row)], (), DigestedRows())
    assert json.loads(str(text)) == {"content": content}


def test_a_field_whose_places_come_under_one_name_stops_and_says_to_place_it_once() -> None:
    (field,) = fields_in([{"name": "note", "repetitionStart": n, "repetitionEnd": n} for n in (1, 2)])
    resolution = Resolution("note", "API_Notes", {"content": (field,)}, ())
    with pytest.raises(FieldMissing, match="note with its 2 repetitions") as stopped:
        list(canonical_rows(resolution, [FileMakerRecord(1, 0, {"note": "one"})], (), DigestedRows()))
    assert "Place the field note once on the layout API_Notes" in stopped.value.remedy


def test_a_missing_layout_is_told_by_name_before_anything_is_read(clinic: Clinic, nexus: Connection) -> None:
    with pytest.raises(MappingError, match=r"no layout API_Notes.*Create the layout"):
        _extract(clinic, nexus)
    assert clinic.answered("records") == 0


def test_a_value_that_may_not_be_seen_is_held_as_filemaker_says_it(clinic: Clinic, nexus: Connection) -> None:
    clinic.notes(1)
    hidden = {"API_Notes": ["note"]}
    clinic.store.add_account(clinic.database, ServerAccount("pipeline", "käse:only for tests", no_access=hidden))
    _extract(clinic, nexus)
    assert _records(nexus)[0][4]["content"] == "<No Access>"


def test_two_extractions_of_one_entity_at_once_are_refused(
    clinic: Clinic, nexus: Connection, migrated_url: str
) -> None:
    clinic.notes(9)
    refused: list[str] = []

    def start_another(_rows: int, _found: int) -> None:
        with connect(migrated_url) as other, pytest.raises(LockStop, match="Another run is extracting note") as stop:
            _extract(clinic, other)
        refused.append(stop.value.remedy)

    assert _extract(clinic, nexus, on_progress=start_another).row_count == 9
    assert refused
