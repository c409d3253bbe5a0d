"""The clinic as it was found has the numbers of the real one, in both profiles."""

from __future__ import annotations

import pytest

from fm_pipeline.sandbox.clinic.generate import Clinic, generate_clinic


@pytest.fixture(scope="module")
def real_size() -> Clinic:
    return generate_clinic(as_found=True)


@pytest.fixture(scope="module")
def found() -> Clinic:
    return generate_clinic(scale=0.05, as_found=True)


def test_at_scale_one_the_numbers_are_those_of_the_field_notes(real_size: Clinic) -> None:
    expected = real_size.expected(profile="wep")
    assert {entity: (count.rows, count.loaded) for entity, count in expected.sources.items()} == {
        "patient": (2_845, 2_842),
        "contact_detail": (10_688, 10_688),
        "appointment": (15_149, 9_837),
        "note": (11_408, 11_210),
        "sms_message": (5_352, 5_352),
        "document": (11_274, 11_274 - 1_084 - 28),
        "image": (6_664, 6_574),
        "company": (14, 14),
        "referrer": (24, 24),
        "patient_referrer": (1_264, 1_264),
    }
    assert expected.stops == {
        ("patient", "patient_without_clinic"): 86,
        ("appointment", "appointment_without_clinic"): 32,
        ("appointment", "appointment_without_clinician"): 1_496,
        ("appointment", "appointment_without_type"): 1_496,
    }
    assert expected.flags["patient", "patient_without_funding"] == 2_842
    documents = expected.tables["documents_document"]
    patients = expected.tables["patients"].rows.keys()
    linked = sum(documents.values(row)["object_id"] in patients for row in documents.rows.values())
    assert (len(documents.rows), linked) == (10_190, 10_148)
    assert expected.lost_documents == {"no_evidence": 14, "patient_unknown": 14, "evidence_conflict": 14}


@pytest.mark.parametrize("scale", [0.001, 0.02, 0.3])
def test_every_kind_of_defect_is_there_however_small_the_clinic(scale: float) -> None:
    expected = generate_clinic(scale=scale, as_found=True).expected()
    assert set(expected.sources["appointment"].quarantined_by) == {
        "record_without_patient",
        "patient_unknown",
        "patient_not_loaded",
        "appointment_without_start",
    }
    assert set(expected.sources["note"].quarantined_by) == {
        "record_without_patient",
        "patient_unknown",
        "patient_not_loaded",
        "note_without_text",
    }
    assert expected.sources["patient"].quarantined_by.keys() == {"patient_without_name"}
    assert len(expected.stops) == 4
    assert {"time_in_dst_gap", "time_in_dst_overlap"} <= {rule for _, rule in expected.flags}
    assert len(expected.lost_documents) == 3


def test_both_profiles_have_the_same_records_in_the_same_order(found: Clinic) -> None:
    nexus, wep = found.filemaker_tables("nexus"), found.filemaker_tables("wep")
    assert len(wep) == len(nexus) + 3, "companies and referrers, which only wep has, come last"
    for ours, theirs in zip(nexus, wep, strict=False):
        assert [record["id"] for record in ours.records()] == [record["id"] for record in theirs.records()]


def test_the_users_layouts_hold_what_users_write(found: Clinic) -> None:
    tables = {table.layout: list(table.records()) for table in found.filemaker_tables("wep")}
    events, people = tables["API_event"], tables["API_Contacts"]
    assert {"24:00:00", "1 day, 09:30:00"} <= {event["startTime"] for event in events}
    assert any(str(event["startDate"]).endswith("T00:00:00") for event in events)
    assert any(event["allDay"] == 1 and event["startTime"] == "" for event in events)
    assert any(event["endTime"] and not event["endDate"] for event in events)
    assert any("\u00a0" in str(event["clinician_name"]) for event in events)
    births = [str(person["DOB"]) for person in people]
    assert any("/" in day for day in births)
    assert any("T00:00:00" in day for day in births)
    assert any("-" in day and "T" not in day for day in births)
    assert {bool(note["id_Key"]) for note in tables["API_Notes"]} == {True, False}


def test_what_is_not_loaded_lies_between_the_other_records(found: Clinic) -> None:
    (events,) = (table for table in found.filemaker_tables() if table.layout == "API_Appointments")
    strangers = [n for n, event in enumerate(events.records()) if not str(event["patient_id"]).strip()]
    assert strangers[0] < len(events.rows) / 10
    assert strangers[-1] > len(events.rows) * 9 / 10
