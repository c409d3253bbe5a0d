"""Notes, text messages, and the links of documents and images."""

from __future__ import annotations

from pathlib import Path

import pytest

from fm_pipeline.entities.rules import load_rules
from fm_pipeline.errors import StagingStop
from fm_pipeline.staging.check import check_staging
from fm_pipeline_tests.staging.bench import PATIENT, Staging, a_patient, uuid_of


@pytest.fixture
def staging(staging: Staging) -> Staging:
    """With a patient."""
    staging.stage("patient", a_patient())
    return staging


def a_note(number: int, content: str, **fields: object) -> dict[str, object]:
    return {"filemaker_id": f"n{number}", "patient": PATIENT, "content": content} | fields


def a_message(number: int, message: str, **fields: object) -> dict[str, object]:
    return {"filemaker_id": f"m{number}", "patient": PATIENT, "message": message} | fields


def test_cases_4_and_5_notes_keep_their_text_and_get_line_feeds(staging: Staging) -> None:
    texts = ["one\vtwo\rthree\r\nfour \r", "\\N", "\\.", "  indented", '"', "a\tb\\t", "🙂\u2028\u00a0", "1\x1d2"]
    staging.stage("note", *[a_note(n, text) for n, text in enumerate(texts)])
    assert staging.rows("staged_notes", "content") == ["one\ntwo\nthree\nfour", *texts[1:]]
    assert staging.findings("note") == [(8, "repetition_in_field", "content")]


def test_case_9_a_note_without_text_and_notes_of_nobody_are_quarantined(staging: Staging) -> None:
    staging.stage(
        "note",
        a_note(1, " \r\n "),
        a_note(2, ""),
        a_note(3, "x", patient=""),
        a_note(4, "x", patient="unheard of"),
        a_note(5, "x", note_type="Phone call", created_by="k" * 101),
        a_note(6, "x", note_type="Order-Notes", created_by="kim", created_at="01/15/2026"),
    )
    assert list(staging.ends("note").values()) == [
        "note_without_text",
        "note_without_text",
        "record_without_patient",
        "patient_unknown",
        "value_too_long",
        "ready",
    ]
    assert staging.rows("staged_notes", "note_type", "created_by", "source_created_at::text") == [
        ("order_notes", "kim", "2026-01-14 13:00:00+00")
    ]
    assert (5, "note_type_unknown", "note_type") in staging.findings("note")


def test_a_text_message_becomes_a_row_of_nexus(staging: Staging) -> None:
    result = staging.stage(
        "sms_message",
        a_message(1, "Hello\rthere", phone_number=" 0400 000 000 ", status="Delivered", sent_at="07/15/2026 09:00:00"),
        a_message(2, "x", phone_number="", status="", sent_at=""),
        a_message(3, ""),
        a_message(4, "x", status="lost"),
        a_message(5, "x", phone_number="0" * 21),
    )
    assert staging.rows("staged_sms_messages", "message", "phone_number", "status", "sent_at::text") == [
        ("Hello\nthere", "0400 000 000", "delivered", "2026-07-14 23:00:00+00"),
        ("x", "", "sent", None),
        ("x", "", "sent", None),
    ]
    assert list(staging.ends("sms_message").values()) == [
        "ready", "ready", "message_without_text", "ready", "value_too_long",
    ]  # fmt: skip
    assert result.fed_columns == ["patient_id", "phone_number", "message", "status", "sent_at"]


def documents_in_nexus(staging: Staging, *numbers: int) -> None:
    staging.execute(
        "INSERT INTO documents_document (id, file_name, original_name, file_size, mime_type, s3_bucket, s3_key, s3_url,"
        " category, description, tags, uploaded_by, uploaded_at, updated_at, is_active, filemaker_id)"
        " SELECT gen_random_uuid(), '', '', 0, '', '', '', '', '', '', '[]', '', now(), now(), true, id::uuid"
        " FROM unnest(%s) id",
        ([uuid_of(number) for number in numbers],),
    )


def test_documents_and_images_that_nexus_has_are_linked_and_the_others_skipped(staging: Staging) -> None:
    documents_in_nexus(staging, 1, 3, 4)
    records = [
        {"filemaker_id": uuid_of(1).upper(), "patient": PATIENT},
        {"filemaker_id": uuid_of(2), "patient": PATIENT},
        {"filemaker_id": uuid_of(3), "patient": ""},
        {"filemaker_id": uuid_of(4), "patient": "unheard of"},
        {"filemaker_id": "228", "patient": PATIENT},
        {"filemaker_id": uuid_of(5), "patient": ""},
    ]
    staging.stage("document", *records)
    assert list(staging.ends("document").values()) == [
        "ready", "file_not_in_nexus", "record_without_patient", "patient_unknown", "filemaker_id_not_uuid",
        "file_not_in_nexus",
    ]  # fmt: skip
    result = staging.stage("image", *records)
    assert [(s.ready, s.quarantined, s.skipped) for s in result.summaries] == [(0, 1, 5)]
    # The build of the images leaves the links of the documents alone.
    assert staging.rows("staged_file_links", "entity", "filemaker_id::text", "patient_key") == [
        ("document", uuid_of(1), PATIENT.lower())
    ]
    assert result.fed_columns == []


def test_a_document_that_nexus_has_and_that_has_no_export_date_is_linked_and_flagged(staging: Staging) -> None:
    documents_in_nexus(staging, 1, 2, 3)
    records = [
        {"filemaker_id": uuid_of(1), "patient": PATIENT, "export_date": "2025-11-05T10:00:00"},
        {"filemaker_id": uuid_of(2), "patient": PATIENT, "export_date": " "},
        {"filemaker_id": uuid_of(3), "patient": PATIENT, "export_date": "<No Access>"},
        {"filemaker_id": uuid_of(4), "patient": PATIENT, "export_date": ""},
    ]
    (result,) = staging.stage("document", *records).summaries
    assert (result.ready, result.skipped, result.flagged) == (3, 1, {"export_date_missing": 1})
    (without,) = staging.stage(
        "document", *({**record, "export_date": ""} for record in records), fed=["patient"]
    ).summaries
    assert without.flagged == {}, "a layout without the field says nothing about it"


def test_a_clinic_may_stop_for_a_missing_export_date(staging: Staging, tmp_path: Path) -> None:
    documents_in_nexus(staging, 1)
    (tmp_path / "rules.yaml").write_text("export_date_missing: stop")
    staging.extract("document", [{"filemaker_id": uuid_of(n), "patient": PATIENT, "export_date": ""} for n in (1, 2)])
    staging.build("document", rules=load_rules(tmp_path / "rules.yaml"))
    assert list(staging.ends("document").values()) == ["export_date_missing", "file_not_in_nexus"]
    with pytest.raises(StagingStop, match=r"export_date_missing \(document, 1 of 2 rows\)"):
        check_staging(staging.connection, ["document"])
