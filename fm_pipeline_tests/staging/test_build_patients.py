"""Patients and their contact details, built in a real database."""

from __future__ import annotations

from fm_pipeline_tests.staging.bench import PATIENT, Staging, a_patient

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
