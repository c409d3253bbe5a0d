"""The oracle agrees with itself and with the sentences of docs/mapping.md."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest

from fm_pipeline.sandbox.clinic.generate import Clinic
from fm_pipeline.sandbox.clinic.nexus.oracle import LOADED, Expected
from fm_pipeline.sandbox.clinic.nexus.state import ANY, TableContent, Values
from fm_pipeline.sandbox.clinic.nexus.system import PATIENT_TYPE


@pytest.fixture(scope="module", params=["keep", "reset"])
def expected(request: pytest.FixtureRequest, clinic: Clinic) -> Expected:
    return clinic.expected(request.param)


def values_of(table: TableContent) -> list[Values]:
    return [table.values(row) for row in table.rows.values()]


def by_name(clinic: Clinic, **names: str) -> Values:
    """The expected row of the patient with these values."""
    rows = values_of(clinic.expected().tables["patients"])
    (found,) = (row for row in rows if names.items() <= row.items())
    return found


def test_every_source_row_has_one_end(expected: Expected) -> None:
    assert len(expected.sources) == 7
    for count in expected.sources.values():
        assert count.rows == count.loaded + count.quarantined + count.skipped
        assert count.quarantined == 0


def test_the_counts_of_every_table_add_up(expected: Expected) -> None:
    for count in expected.changes.values():
        assert count.before + count.inserted - count.deleted == count.after
        assert count.inserted + count.updated + count.unchanged == count.after


def test_every_loaded_record_has_its_row(expected: Expected) -> None:
    for entity, table in LOADED.items():
        assert len(expected.tables[table].rows) == expected.sources[entity].loaded


def test_every_document_and_batch_ends_at_a_patient_who_exists(expected: Expected) -> None:
    patients = expected.tables["patients"].rows
    for name in ("documents_document", "images_batch"):
        for row in values_of(expected.tables[name]):
            assert row["object_id"] in patients
            assert row["content_type_id"] == PATIENT_TYPE


def test_no_reference_points_nowhere_afterwards(expected: Expected) -> None:
    patients, appointments = expected.tables["patients"].rows, expected.tables["appointments"].rows
    for table in expected.tables.values():
        for column, parents in (
            ("patient_id", patients),
            ("appointment_id", appointments),
            ("parent_appointment_id", appointments),
        ):
            if column in table.columns:
                assert table.ids(column) <= {None, *parents}, table.name


def test_some_documents_and_batches_are_orphans_before(clinic: Clinic) -> None:
    before = clinic.truth.before
    patients = before["patients"].rows
    orphans = [row for row in values_of(before["documents_document"]) if row["object_id"] not in patients]
    told = [row for row in orphans if (row["filemaker_metadata"] or {}).get("filemaker_patient_id")]
    assert 0 < len(told) < len(orphans), "some by their metadata, some only by FileMaker's record"
    assert any(row["object_id"] not in patients for row in values_of(before["images_batch"]))


def test_letters_and_reminders_are_gone(expected: Expected) -> None:
    assert expected.tables["letters_patientletter"].rows == {}
    assert expected.tables["reminders"].rows == {}


def test_no_row_of_the_integrations_is_lost(clinic: Clinic, expected: Expected) -> None:
    for name, table in clinic.truth.before.items():
        if name not in expected.changes:
            assert expected.tables[name].rows.keys() == table.rows.keys()
    links = expected.tables["xero_contact_links"]
    assert sum(row["patient_id"] is None and row["company_id"] is None for row in values_of(links)) == 2


def test_a_new_row_s_id_follows_from_its_filemaker_id(clinic: Clinic) -> None:
    patient = next(patient for patient in clinic.truth.patients if patient.nexus_id is None)
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "https://fm-pipeline.example/patient")
    assert uuid.uuid5(namespace, patient.filemaker_id.lower()) in clinic.expected().tables["patients"].rows


def test_an_unchanged_row_keeps_its_times_and_a_changed_one_has_any(clinic: Clinic) -> None:
    before, after = clinic.truth.before["patients"], clinic.expected().tables["patients"]
    times = {row["id"]: row["updated_at"] for row in values_of(after)}
    same = [key for key in after.rows if before.rows.get(key) == after.rows[key]]
    assert len(same) == clinic.expected().changes["patients"].unchanged
    assert all(isinstance(times[key], dt.datetime) for key in same)
    assert all(times[key] is ANY for key in after.rows.keys() - set(same))


def test_columns_that_only_nexus_knows_are_kept_or_reset(clinic: Clinic) -> None:
    kept = values_of(clinic.expected("keep").tables["patients"])
    reset = values_of(clinic.expected("reset").tables["patients"])
    for column, new in (("mrn", None), ("archived", False), ("emergency_json", None), ("flags_json", None)):
        assert any(row[column] for row in kept), column
        assert {row[column] for row in reset} == {new}
    assert any((row["filemaker_metadata"]).get("import_batch") for row in reset)


def test_a_telephone_under_a_name_that_is_taken_gets_a_number(clinic: Clinic) -> None:
    contact = by_name(clinic, last_name="O'Brien")["contact_json"]
    assert set(contact["phone"]) == {"home", "home 2", "home 3", "phone", "phone 2"}
    assert set(contact["mobile"]) == {"home"}
    assert contact["phone"]["home 2"]["default"] is True


def test_the_default_address_is_the_address_and_the_others_are_kept_in_order(clinic: Clinic) -> None:
    patient = by_name(clinic, last_name="NA")
    assert (patient["address_json"]["type"], patient["address_json"]["default"]) == ("postal", True)
    assert [a["type"] for a in patient["filemaker_metadata"]["other_addresses"]] == ["home", "address"]


def test_a_patient_whom_nobody_can_reach_has_no_contact_and_no_address(clinic: Clinic) -> None:
    last = values_of(clinic.expected().tables["patients"])[-1]
    assert (last["contact_json"], last["address_json"]) == ({}, None)


def test_odd_texts_stand_as_they_are(clinic: Clinic) -> None:
    patients = values_of(clinic.expected().tables["patients"])
    assert {"NA", "Null", "True", "1e5", "\\.", "Back\\Slash", "", "Nguyễn\u00a0Trần"} <= {
        row["last_name"] for row in patients
    }
    contents = {row["content"] for row in values_of(clinic.expected().tables["notes"])}
    assert {"\\N", "first\n\\.\nlast", "NULL"} <= contents
    assert not any("\r" in content or "\x0b" in content for content in contents)


def test_the_clock_change_in_october_makes_two_hours_of_the_clock_one(clinic: Clinic) -> None:
    first = values_of(clinic.expected().tables["appointments"])[0]
    assert first["start_time"] == dt.datetime(2024, 10, 5, 15, 30, tzinfo=dt.UTC)
    assert first["end_time"] == dt.datetime(2024, 10, 5, 16, 30, tzinfo=dt.UTC)


def test_no_two_notes_or_messages_are_equal_so_that_each_can_be_recognised(clinic: Clinic) -> None:
    for name in ("notes", "sms_messages"):
        table = clinic.expected().tables[name]
        fed = {
            tuple(str(row.get(c)) for c in ("patient_id", "note_type", "content", "message", "status", "created_at"))
            for row in values_of(table)
        }
        assert len(fed) == len(table.rows)
