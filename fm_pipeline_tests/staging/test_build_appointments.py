"""Appointments, in all the ways in which FileMaker tells when they are."""

from __future__ import annotations

import pytest

from fm_pipeline_tests.staging.bench import PATIENT, Staging, a_patient, an_appointment, uuid_of


@pytest.fixture
def staging(staging: Staging) -> Staging:
    """With two patients in FileMaker, of whom one is loaded."""
    staging.stage("patient", a_patient(), a_patient(filemaker_id="nobody", first_name="", last_name=""))
    return staging


def appointments(*changes: dict[str, object]) -> list[dict[str, object]]:
    return [an_appointment(filemaker_id=uuid_of(n), **fields) for n, fields in enumerate(changes, start=1)]


def times(staging: Staging) -> dict[int, tuple[str, str]]:
    """Start and end on the clinic's clock, by record id."""
    return {
        record_id: (start, end)
        for record_id, start, end in staging.execute(
            "SELECT record_id, to_char(start_time AT TIME ZONE 'Australia/Sydney', 'YYYY-MM-DD HH24:MI'),"
            " to_char(end_time AT TIME ZONE 'Australia/Sydney', 'YYYY-MM-DD HH24:MI')"
            " FROM fm_pipeline.staged_appointments ORDER BY record_id"
        )
    }


def test_an_appointment_becomes_a_row_of_nexus(staging: Staging) -> None:
    result = staging.stage(
        "appointment", an_appointment(reason="a\rb", notes="c\vd ", created_at="01/15/2026 09:00:00")
    )
    assert staging.rows(
        "staged_appointments", "filemaker_key", "filemaker_event_id::text", "start_time::text", "end_time::text",
        "status", "reason", "notes", "source_created_at::text",
    ) == [
        (uuid_of(1), uuid_of(1), "2026-05-03 23:30:00+00", "2026-05-04 00:00:00+00", "scheduled", "a\nb", "c\nd",
         "2026-01-14 22:00:00+00")
    ]  # fmt: skip
    assert staging.execute(
        "SELECT p.filemaker_key, c.name, k.full_name, t.name FROM fm_pipeline.staged_appointments a"
        " JOIN fm_pipeline.staged_patients p ON p.nexus_id = patient_id JOIN clinics c ON c.id = a.clinic_id"
        " JOIN clinicians k ON k.id = clinician_id JOIN appointment_types t ON t.id = appointment_type_id"
    ) == [(PATIENT.lower(), "Newcastle", "Pat O'Neil", "Fitting")]
    assert result.fed_columns == [
        "filemaker_event_id", "patient_id", "clinic_id", "clinician_id", "appointment_type_id", "start_time",
        "end_time", "status", "reason", "notes", "created_at",
    ]  # fmt: skip


def test_case_9_every_appointment_has_one_end(staging: Staging) -> None:
    staging.stage(
        "appointment",
        *appointments(
            {"patient": PATIENT.lower()},
            {"patient": ""},
            {"patient": "unheard of"},
            {"patient": "NOBODY"},
            {"start": ""},
            {"start": "31/12/2026 09:00:00"},
            {"end": "05/04/2026 09:29:00"},
            {"end": ""},
            {"clinic": ""},
            {"clinician": ""},
            {"appointment_type": ""},
            {"clinician": "Nobody"},
            {"status": "Maybe"},
        ),
        an_appointment(filemaker_id="228"),
    )
    assert list(staging.ends("appointment").values()) == [
        "ready",
        "record_without_patient",
        "patient_unknown",
        "patient_not_loaded",
        "appointment_without_start",
        "appointment_without_start",
        "appointment_ends_before_start",
        "ready",
        "appointment_without_clinic",
        "appointment_without_clinician",
        "appointment_without_type",
        "clinician_unknown",
        "ready",
        "filemaker_id_not_uuid",
    ]
    assert (6, "date_unreadable", "start") in staging.findings("appointment")
    assert (13, "status_unknown", "status") in staging.findings("appointment")


def test_case_6_times_in_one_field(staging: Staging) -> None:
    staging.stage(
        "appointment",
        *appointments(
            {"start": "05/04/2026 24:00:00", "end": "05/05/2026 1 day, 09:30:00"},
            {"start": "2026-05-04T09:00:00", "end": "05/04/2026 1:00 PM"},
            {"start": "05/04/2026", "end": "05/04/2026"},
            {"start": "10/05/2025 02:30:00", "end": "10/05/2025 03:00:00"},
            {"start": "10/05/2025 02:30:00", "end": "10/05/2025 03:30:00"},
            {"start": "04/06/2025 02:30:00", "end": "04/06/2025 03:30:00"},
        ),
    )
    assert times(staging) == {
        1: ("2026-05-05 00:00", "2026-05-06 09:30"),
        2: ("2026-05-04 09:00", "2026-05-04 13:00"),
        3: ("2026-05-04 00:00", None),  # a date alone is no end
        5: ("2025-10-05 03:30", "2025-10-05 03:30"),
        6: ("2025-04-06 02:30", "2025-04-06 03:30"),
    }
    assert staging.findings("appointment") == [
        (3, "appointment_without_time", "end"),
        (3, "appointment_without_time", "start"),
        (4, "appointment_ends_before_start", ""),
        (4, "time_in_dst_gap", "start"),
        (5, "time_in_dst_gap", "start"),
        (6, "time_in_dst_overlap", "start"),
    ]
    # Two hours on the wall, for one of the appointments: the first 02:30 is an hour before the second.
    assert staging.execute(
        "SELECT extract(epoch FROM end_time - start_time)::int / 60 FROM fm_pipeline.staged_appointments"
        " WHERE record_id = 6"
    ) == [(120,)]


def test_case_6_times_in_two_fields(staging: Staging) -> None:
    nothing: dict[str, object] = {"start": "", "end": ""}
    staging.stage(
        "appointment",
        *appointments(
            nothing | {"start_date": "05/04/2026", "start_time": "9:00", "end_date": "05/04/2026", "end_time": "10:00"},
            nothing | {"start_date": "05/04/2026", "start_time": "9:00", "end_time": "9:45"},
            nothing | {"start_date": "2026-05-04T00:00:00", "start_time": "1 day, 0:00:00"},
            nothing | {"start_date": "05/04/2026", "start_time": ""},
            nothing | {"start_date": "05/04/2026", "start_time": "later"},
            nothing | {"start_time": "9:00"},
            nothing | {"start_date": "05/04/2026", "start_time": "9:00", "end_date": "?", "end_time": "9:45"},
            {"start": "05/04/2026 08:00:00", "start_date": "01/01/2020", "end": "", "end_time": "08:30"},
            {"start": "unreadable", "start_date": "05/04/2026", "start_time": "9:00"},
        ),
    )
    assert times(staging) == {
        1: ("2026-05-04 09:00", "2026-05-04 10:00"),
        2: ("2026-05-04 09:00", "2026-05-04 09:45"),
        3: ("2026-05-05 00:00", None),
        4: ("2026-05-04 00:00", None),
        5: ("2026-05-04 00:00", None),
        7: ("2026-05-04 09:00", None),
        8: ("2026-05-04 08:00", "2026-05-04 08:30"),
    }
    assert staging.findings("appointment") == [
        (4, "appointment_without_time", "start_date"),
        (5, "appointment_without_time", "start_date"),
        (5, "date_unreadable", "start_time"),
        (6, "appointment_without_start", ""),
        (7, "date_unreadable", "end_date"),
        (9, "appointment_without_start", ""),
        (9, "date_unreadable", "start"),
    ]


def test_case_6_all_day_events_end_at_the_next_midnight_and_are_not_flagged(staging: Staging) -> None:
    staging.stage(
        "appointment",
        *appointments(
            {"all_day": 1, "start": "05/04/2026", "end": ""},
            {"all_day": "yes", "start": "05/04/2026", "end": "05/06/2026"},
            {"all_day": 1, "start": "05/04/2026 00:00:00", "end": "05/04/2026 00:00:00"},
            {"all_day": 1, "start": "10/05/2025", "end": ""},
            {"all_day": 0, "start": "05/04/2026 09:00:00", "end": ""},
            {"all_day": 1, "start": "", "end": ""},
        ),
    )
    assert times(staging) == {
        1: ("2026-05-04 00:00", "2026-05-05 00:00"),
        2: ("2026-05-04 00:00", "2026-05-07 00:00"),
        3: ("2026-05-04 00:00", "2026-05-05 00:00"),
        4: ("2025-10-05 00:00", "2025-10-06 00:00"),
        5: ("2026-05-04 09:00", None),
    }
    assert staging.findings("appointment") == [(6, "appointment_without_start", "")]
