"""Titles, sexes, states and types: what FileMaker's users write, and what Nexus has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_pipeline.staging.values.choices import (
    read_appointment_status,
    read_boolean,
    read_message_status,
    read_note_type,
    read_sex,
    read_title,
)


@pytest.mark.parametrize(
    ("text", "title"),
    [("Mr", "Mr"), ("MR.", "Mr"), ("mrs.", "Mrs"), ("Ms", "Ms"), ("miss", "Miss"), ("Dr.", "Dr"), ("Doctor", "Dr"),
     ("prof", "Prof"), ("PROFESSOR", "Prof")],
)  # fmt: skip
def test_a_title_is_found_in_any_case_with_or_without_a_full_stop(text: str, title: str) -> None:
    assert read_title(text) == (title, [])


@pytest.mark.parametrize("text", ["Sir", "Mr..", "Mr & Mrs", ".", "Master"])
def test_another_title_is_left_out_and_flagged(text: str) -> None:
    assert read_title(text) == (None, ["title_unknown"])


@pytest.mark.parametrize(
    ("text", "sex"),
    [("Male", "M"), ("m", "M"), ("FEMALE", "F"), ("f", "F"), ("Other", "O"), ("o", "O"), ("unknown", "U"), ("U", "U"),
     ("Non-binary", "O"), ("non binary", "O"), ("X", "O"), ("Indeterminate", "O"), ("intersex", "O"),
     ("Not stated", "U"), ("", None)],
)  # fmt: skip
def test_a_sex_is_one_of_four_letters_or_empty(text: str, sex: str | None) -> None:
    assert read_sex(text) == (sex, [])


def test_another_sex_is_unknown_and_flagged() -> None:
    assert read_sex("n/a") == ("U", ["sex_unknown"])


@pytest.mark.parametrize(
    ("text", "status"),
    [("", "scheduled"), ("Scheduled", "scheduled"), ("booked", "scheduled"), ("CONFIRMED", "scheduled"),
     ("Checked In", "checked_in"), ("checked-in", "checked_in"), ("CHECKED_IN", "checked_in"),
     ("Arrived", "checked_in"), ("Attended", "completed"),
     ("Complete", "completed"), ("completed", "completed"), ("Canceled", "cancelled"),
     ("Cancelled", "cancelled"), ("DNA", "no_show"), ("Did not attend", "no_show"), ("No show", "no_show"),
     ("no-show", "no_show")],
)  # fmt: skip
def test_the_states_of_an_appointment(text: str, status: str) -> None:
    assert read_appointment_status(text) == (status, [])


@pytest.mark.parametrize(
    ("text", "status"),
    [("", "sent"), ("Pending", "pending"), ("SENT", "sent"), ("delivered", "delivered"), ("Failed", "failed"),
     ("Canceled", "cancelled"), ("cancelled", "cancelled")],
)  # fmt: skip
def test_the_states_of_a_message(text: str, status: str) -> None:
    assert read_message_status(text) == (status, [])


def test_another_state_is_flagged() -> None:
    assert read_appointment_status("Maybe") == ("scheduled", ["status_unknown"])
    assert read_message_status("Booked") == ("sent", ["status_unknown"])


@pytest.mark.parametrize(
    ("text", "note_type"),
    [("Clinical Notes", "clinical_notes"), ("3D-Scan Data", "3d_scan_data"), ("referral", "referral"),
     ("WORKSHOP_NOTE", "workshop_note"), ("Other", "other"), ("", "other")],
)  # fmt: skip
def test_the_types_of_a_note(text: str, note_type: str) -> None:
    assert read_note_type(text) == (note_type, [])


def test_another_type_is_other_and_flagged() -> None:
    assert read_note_type("Phone call") == ("other", ["note_type_unknown"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("TRUE", True), ("Yes", True), ("y", True), ("0", False), ("", False), ("No", False), ("n", False),
     ("false", False)],
)  # fmt: skip
def test_a_flag_is_yes_or_no(text: str, value: bool) -> None:
    assert read_boolean(text) == (value, [])


@pytest.mark.parametrize("text", ["2", "on", "X", "Ja"])
def test_another_flag_is_no_and_flagged(text: str) -> None:
    assert read_boolean(text) == (False, ["boolean_unknown"])


@given(st.text())
def test_no_text_at_all_raises(text: str) -> None:
    for read in (read_title, read_sex, read_appointment_status, read_message_status, read_note_type):
        value, rules = read(text)
        assert len(rules) <= 1
        assert value is None or len(value) <= 20
