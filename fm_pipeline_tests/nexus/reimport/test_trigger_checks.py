"""Triggers and rules of the application that keep, move or change rows: found before the commit, nothing is changed."""

from __future__ import annotations

import pytest

from fm_pipeline.errors import CatalogueStop, ValidationStop
from fm_pipeline_tests.support.clinics import MigrationBench


def _trigger(bench: MigrationBench, table: str, when: str, body: str) -> None:
    bench.execute(
        f"CREATE OR REPLACE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$;"
        f"CREATE TRIGGER meddle {when} ON {table} FOR EACH ROW EXECUTE FUNCTION meddle()"
    )


def _refused(bench: MigrationBench, match: str, undo: str) -> None:
    before = bench.digests()
    try:
        with pytest.raises((ValidationStop, CatalogueStop), match=match):
            bench.plan()
        assert bench.digests() == before
    finally:
        bench.execute(undo)


@pytest.mark.parametrize(
    ("table", "when", "body", "match"),
    [
        ("documents_document", "BEFORE UPDATE", "RETURN NULL", "documents_document_relinked"),
        ("images_batch", "BEFORE UPDATE", "RETURN NULL", "images_batch_relinked"),
        (
            "letters_patientletter",
            "BEFORE DELETE",
            "RETURN NULL",
            r"deleted_rows_gone: [1-9]\d* of letters_patientletter",
        ),
        (
            "documents_document",
            "AFTER UPDATE",
            "UPDATE documents_document SET object_id = NEW.object_id"
            " WHERE object_id <> NEW.object_id AND object_id IN (SELECT id FROM patients); RETURN NULL",
            "documents_document_(untouched|relinked)",
        ),
        (
            "documents_document",
            "BEFORE UPDATE",
            "NEW.object_id = (SELECT id FROM patients WHERE id <> NEW.object_id ORDER BY id LIMIT 1); RETURN NEW",
            "documents_document_relinked",
        ),
        ("patients", "BEFORE UPDATE", "NEW.archived = NOT OLD.archived; RETURN NEW", "patients_kept_columns: archived"),
        (
            "patients",
            "AFTER UPDATE",
            "UPDATE patients SET mrn = NULL WHERE id <> NEW.id AND mrn IS NOT NULL; RETURN NULL",
            "patients_kept_columns: mrn",
        ),
        (
            "xero_invoices",
            "BEFORE UPDATE",
            "NEW.status = NEW.status || '?'; RETURN NEW",
            "xero_invoices_only_repointed: status",
        ),
        ("xero_contact_links", "AFTER UPDATE", "DELETE FROM xero_contact_links; RETURN NULL", "links_only_repointed"),
    ],
)
def test_a_trigger_that_does_something_else_is_found_before_the_commit(
    staged: MigrationBench, table: str, when: str, body: str, match: str
) -> None:
    _trigger(staged, table, when, body)
    _refused(staged, match, f"DROP TRIGGER meddle ON {table}")


def test_a_rule_that_does_something_instead_is_found_before_the_commit(staged: MigrationBench) -> None:
    staged.execute(
        "ALTER TABLE reminders ADD deleted_at timestamptz; CREATE RULE soft AS ON DELETE TO reminders"
        " DO INSTEAD UPDATE reminders SET deleted_at = now() WHERE id = OLD.id"
    )
    undo = "DROP RULE soft ON reminders; ALTER TABLE reminders DROP deleted_at"
    _refused(staged, r"deleted_rows_gone: [1-9]\d* of reminders", undo)


def test_a_generic_key_that_a_trigger_keeps_stops_with_its_table(staged: MigrationBench) -> None:
    staged.execute(
        "CREATE TABLE labels (id serial PRIMARY KEY, content_type_id integer, object_id uuid);"
        "INSERT INTO labels (content_type_id, object_id)"
        " SELECT c.id, p.id FROM patients p, django_content_type c WHERE c.model = 'patient'"
    )
    _trigger(staged, "labels", "BEFORE UPDATE", "RETURN NULL")
    match = r"rows? of labels.object_id .*a trigger or a rule of labels keeps them so"
    _refused(staged, match, "DROP TABLE labels")


@pytest.mark.usefixtures("staged_once")
def test_triggers_that_keep_a_time_or_a_search_index_up_to_date_are_no_hindrance(bench: MigrationBench) -> None:
    bench.execute("ALTER TABLE patients ADD found_by tsvector")
    _trigger(
        bench,
        "patients",
        "BEFORE INSERT OR UPDATE",
        "NEW.found_by = to_tsvector('simple', NEW.last_name); NEW.updated_at = now(); RETURN NEW",
    )
    report = bench.reimport()
    assert report.tables["patients"].updated > 0
    assert bench.execute("SELECT count(*) FROM patients WHERE found_by IS NULL") == [
        (report.tables["patients"].unchanged,)
    ]
