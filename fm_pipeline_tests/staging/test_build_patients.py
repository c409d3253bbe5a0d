"""Patients and their contact details, built in a real database."""

from __future__ import annotations

from fm_pipeline.staging.values.keys import new_nexus_id
from fm_pipeline_tests.staging.bench import CLINIC_FILEMAKER_ID, PATIENT, Staging, a_patient, uuid_of

HARD_NAMES = (
    "NA", "Null", "True", "1e5", "O'Brien", '"', "'", "\\", "\\N", "\\.", "a\\tb", "🙂", "\u00a0NBSP\u00a0",
    "U\u2028+2028", "Zoë", "Zoe\u0308", "<b>", "%s", "{}", "0", "-", "a\tb",
)  # fmt: skip


def test_a_patient_becomes_a_row_of_nexus_with_every_column(staging: Staging) -> None:
    staging.stage(
        "patient",
        a_patient(
            title="Mrs.",
            middle_names="Lee",
            dob="01/02/1980",
            sex="female",
            health_number="0012",
            coordinator_name="Kim",
            coordinator_date="12/31/2024",
            plan_start_date="2025-01-01",
            plan_end_date="2025-12-31T00:00:00",
            xero_contact_id="x-1",
            created_at="01/15/2020 14:00:00",
        ),
    )
    assert staging.ends("patient") == {1: "ready"}
    assert staging.findings("patient") == []
    (row,) = staging.rows(
        "staged_patients",
        "filemaker_key",
        "first_name",
        "last_name",
        "middle_names",
        "dob::text",
        "sex",
        "title",
        "health_number",
        "coordinator_name",
        "coordinator_date::text",
        "plan_start_date::text",
        "plan_end_date::text",
        "filemaker_metadata",
        "contact_json",
        "address_json",
        "source_created_at::text",
    )
    assert row == (
        PATIENT.lower(),
        "Jo",
        "Example",
        "Lee",
        "1980-01-02",
        "F",
        "Mrs",
        "0012",
        "Kim",
        "2024-12-31",
        "2025-01-01",
        "2025-12-31",
        {"filemaker_id": PATIENT, "filemaker_clinic": "Newcastle", "xero_contact_id": "x-1"},
        {},
        None,
        "2020-01-15 03:00:00+00",
    )
    assert staging.execute(
        "SELECT c.name, f.name FROM fm_pipeline.staged_patients JOIN clinics c ON c.id = clinic_id"
        " JOIN funding_sources f ON f.id = funding_type_id"
    ) == [("Newcastle", "NDIS")]


def test_case_4_hard_surnames_arrive_unchanged(staging: Staging) -> None:
    staging.stage(
        "patient",
        *[a_patient(filemaker_id=f"p{n}", last_name=name) for n, name in enumerate(HARD_NAMES)],
    )
    assert staging.rows("staged_patients", "last_name") == list(HARD_NAMES)
    assert staging.findings("patient") == []


def test_case_4_leading_zeros_and_numbers_stay_as_they_are(staging: Staging) -> None:
    staging.stage("patient", a_patient(health_number="0001234"), a_patient(filemaker_id=7, health_number=12))
    assert staging.rows("staged_patients", "health_number") == ["0001234", "12"]


def test_case_4_what_postgresql_cannot_store_is_removed_and_the_row_listed(staging: Staging) -> None:
    staging.stage("patient", a_patient(last_name="Nu\0ll"), a_patient(filemaker_id="p2", last_name="Half\ud83d"))
    assert staging.rows("staged_patients", "last_name") == ["Null", "Half\ufffd"]
    assert staging.findings("patient") == [
        (1, "nul_byte_removed", "last_name"),
        (2, "half_character_replaced", "last_name"),
    ]


def test_case_3_ids_that_are_the_same_stop_and_none_of_their_rows_wins(staging: Staging) -> None:
    staging.stage(
        "patient",
        a_patient(),
        a_patient(filemaker_id=f" {PATIENT.lower()} ", last_name="Other"),
        a_patient(filemaker_id="p3"),
        a_patient(filemaker_id="p4"),
        a_patient(filemaker_id="p4"),
        a_patient(filemaker_id=""),
        a_patient(filemaker_id=" \r"),
    )
    assert list(staging.ends("patient").values()) == [
        *["filemaker_id_twice"] * 2,
        "ready",
        *["filemaker_id_twice"] * 2,
        *["filemaker_id_missing"] * 2,
    ]
    assert staging.rows("staged_patients", "record_id") == [3]


def test_case_9_a_patient_needs_one_of_the_two_names(staging: Staging) -> None:
    staging.stage(
        "patient",
        a_patient(filemaker_id="p1", first_name="", last_name=" \r"),
        a_patient(filemaker_id="p2", first_name=""),
        a_patient(filemaker_id="p3", last_name=""),
    )
    assert staging.ends("patient") == {1: "patient_without_name", 2: "ready", 3: "ready"}
    assert staging.rows("staged_patients", "first_name", "last_name") == [("", "Example"), ("Jo", "")]


def test_case_6_dates_of_birth(staging: Staging) -> None:
    texts = ("12/31/1999", "1999-12-31", "1999-12-31T00:00:00", "12/31/99", "02/31/1999", "31/12/1999",
             "03/02/2026", "03/03/2026", "")  # fmt: skip
    staging.stage("patient", *[a_patient(filemaker_id=f"p{n}", dob=text) for n, text in enumerate(texts)])
    # It is 2 March in Sydney.
    assert staging.rows("staged_patients", "dob::text") == ["1999-12-31"] * 3 + [None] * 3 + ["2026-03-02", None, None]
    assert staging.findings("patient") == [
        (4, "date_unreadable", "dob"),
        (5, "date_unreadable", "dob"),
        (6, "date_unreadable", "dob"),
        (8, "dob_in_future", "dob"),
    ]


def test_case_7_clinic_and_funding_names_of_a_patient(staging: Staging) -> None:
    staging.add_clinic("Twin")
    staging.add_clinic("TWIN")
    staging.stage(
        "patient",
        a_patient(filemaker_id="p1", clinic="\u00a0NEWCASTLE ", funding="ndis"),
        a_patient(filemaker_id="p2", clinic="Nowhere"),
        a_patient(filemaker_id="p3", clinic="twin"),
        a_patient(filemaker_id="p4", clinic=""),
        a_patient(filemaker_id="p5", funding="Private"),
        a_patient(filemaker_id="p6", funding=""),
        a_patient(filemaker_id="p7", clinic="twin", clinic_filemaker_id=CLINIC_FILEMAKER_ID.upper()),
        a_patient(filemaker_id="p8", clinic="Newcastle", clinic_filemaker_id=uuid_of(9)),
        a_patient(filemaker_id="p9", clinic="", clinic_filemaker_id=uuid_of(9)),
    )
    assert list(staging.ends("patient").values()) == [
        "ready",
        "clinic_unknown",
        "clinic_ambiguous",
        "patient_without_clinic",
        "funding_unknown",
        "ready",
        "ready",
        "ready",
        "clinic_unknown",
    ]
    assert (6, "patient_without_funding", "funding") in staging.findings("patient")
    assert staging.execute("SELECT count(*) FROM clinics") == [(3,)]
    (metadata, *_) = staging.rows("staged_patients", "filemaker_metadata")
    assert metadata["filemaker_clinic"] == "\u00a0NEWCASTLE"


def test_case_8_a_value_longer_than_its_column_stops(staging: Staging) -> None:
    staging.stage(
        "patient",
        a_patient(filemaker_id="p1", last_name="é" * 100, health_number="🙂" * 50),
        a_patient(filemaker_id="p2", last_name="e" * 101),
    )
    assert staging.ends("patient") == {1: "ready", 2: "value_too_long"}
    assert staging.findings("patient") == [(2, "value_too_long", "last_name")]


def test_case_22_a_field_without_privilege_is_quarantined_and_not_taken_for_a_value(staging: Staging) -> None:
    staging.stage(
        "patient",
        a_patient(filemaker_id="p1", first_name="<No Access>"),
        a_patient(filemaker_id="p2", clinic=" <No Access>"),
        a_patient(filemaker_id="p3", last_name="says <No Access>"),
        a_patient(filemaker_id="p4", last_name="<No Access>\x1d<No Access>"),
    )
    assert staging.ends("patient") == {
        1: "field_not_readable", 2: "field_not_readable", 3: "ready", 4: "field_not_readable",
    }  # fmt: skip


def test_a_patient_keeps_the_id_of_the_crosswalk_and_a_new_one_gets_the_same_in_every_run(staging: Staging) -> None:
    known = "99999999-0000-4000-8000-000000000009"
    staging.execute(
        "INSERT INTO fm_pipeline.crosswalk (entity, filemaker_key, nexus_id, origin)"
        " VALUES ('patient', %s, %s, 'metadata')",
        (PATIENT.lower(), known),
    )
    staging.stage("patient", a_patient(), a_patient(filemaker_id="New"))
    first = staging.rows("staged_patients", "nexus_id::text")
    assert first == [known, new_nexus_id("patient", "new")]
    staging.stage("patient", a_patient(), a_patient(filemaker_id="new"))
    assert staging.rows("staged_patients", "nexus_id::text") == first


def test_only_columns_that_the_profile_feeds_are_fed(staging: Staging) -> None:
    result = staging.stage("patient", a_patient(dob=""), fed=["filemaker_id", "last_name", "dob", "clinic"])
    assert result.fed_columns == ["last_name", "dob", "clinic_id", "filemaker_metadata"]
    assert staging.rows("staged_patients", "filemaker_metadata") == [
        {"filemaker_id": PATIENT, "filemaker_clinic": "Newcastle"}
    ]
    staging.extract("contact_detail", [], fed=["filemaker_id", "patient", "kind"])
    fed = [*result.fed_columns, "contact_json", "address_json"]
    assert staging.build("patient").fed_columns == fed
    staging.extract(
        "patient", [a_patient()], fed=["filemaker_id", "clinic_filemaker_id", "xero_contact_id", "created_at"]
    )
    assert staging.build("patient").fed_columns == [
        "clinic_id", "filemaker_metadata", "contact_json", "address_json", "created_at",
    ]  # fmt: skip
