"""Rows that users made since the backup: they stay, or it is said by their ids why not and what became of them."""

from __future__ import annotations

import re

import pytest

from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.backup.restore import RestoreReport
from fm_pipeline.nexus.backup.restore_state import NewerRows
from fm_pipeline.nexus.backup.restore_tables import RestoredTable
from fm_pipeline_tests.nexus.backup.restoring import a_copy, a_new_patient, backup, give_back
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.postgres import WITH_OWN_JSON

KEPT = "deleted, and saved in fm_pipeline.set_aside_rows"


def of(report: RestoreReport, table: str) -> RestoredTable:
    (found,) = (entry for entry in report.tables if entry.table == table)
    return found


def patient_type(nexus: MigrationBench) -> int:
    ((number,),) = nexus.execute("SELECT id FROM django_content_type WHERE model = 'patient'")
    return int(number)


def test_rows_that_users_created_since_stay_and_only_lose_a_deleted_patient(nexus: MigrationBench) -> None:
    folder = backup(nexus)
    patient = a_new_patient(nexus)
    saved = a_copy(nexus, "documents_document", object_id=patient, filemaker_id=None)
    link = a_copy(nexus, "xero_contact_links", patient_id=patient, xero_contact_id="new")
    invoice = a_copy(nexus, "xero_invoices", number="of an old patient")
    nexus.execute("UPDATE xero_invoices SET status = 'void' WHERE number <> 'of an old patient'")
    nexus.execute("DELETE FROM core_bookmark")
    report = give_back(nexus, folder)
    assert nexus.execute("SELECT count(*) FROM patients WHERE id::text = %s", patient) == [(0,)]
    assert nexus.execute("SELECT object_id FROM documents_document WHERE id = %s", saved) == [(None,)]
    assert nexus.execute("SELECT patient_id FROM xero_contact_links WHERE id = %s", link) == [(None,)]
    assert nexus.execute("SELECT count(*) FROM xero_invoices WHERE id = %s", invoice) == [(1,)]
    assert nexus.execute("SELECT count(*) FROM xero_invoices WHERE status = 'void'")[0][0] <= 1
    assert (of(report, "patients").deleted, of(report, "documents_document").emptied) == (1, 1)
    assert (of(report, "xero_invoices").newer, of(report, "xero_contact_links").emptied) == (1, 1)
    assert of(report, "core_bookmark").inserted == of(report, "core_bookmark").backup > 0
    entered = [rows for rows in report.newer if rows.table == "patients"]
    assert [(rows.done, rows.ids) for rows in entered] == [(KEPT, (patient,))]
    kept = "SELECT content ->> 'id' FROM fm_pipeline.set_aside_rows WHERE table_name = 'patients'"
    assert nexus.execute(kept) == [(patient,)]
    emptied = [("documents_document", (saved,)), ("xero_contact_links", (link,))]
    assert sorted((rows.table, rows.ids) for rows in report.newer if rows not in entered) == emptied


def test_rows_made_since_that_would_lose_their_owner_are_a_stop_that_names_them(nexus: MigrationBench) -> None:
    folder, patient = backup(nexus), a_new_patient(nexus)
    invoice = a_copy(nexus, "xero_invoices", patient_id=patient, number="new")
    bookmark = a_copy(nexus, "core_bookmark", object_id=patient, content_type_id=patient_type(nexus))
    before = nexus.digests()
    with pytest.raises(BackupStop, match=r"Nothing was changed") as caught:
        give_back(nexus, folder)
    for column, row in (("xero_invoices.patient_id", invoice), ("core_bookmark.object_id", bookmark)):
        assert re.search(rf"1 row of {column} [^;]*{row}", caught.value.what)
    assert nexus.digests() == before


def test_images_linked_since_are_set_aside_with_their_batch_and_can_be_brought_back(nexus: MigrationBench) -> None:
    nexus.execute(WITH_OWN_JSON)
    nexus.execute('ALTER TABLE images_image ADD told fm_told, ADD "told %" fm_told[], ADD said jsonb')
    folder, before = backup(nexus), nexus.digests()
    patient = a_new_patient(nexus)
    batch = a_copy(nexus, "images_batch", object_id=patient, content_type_id=patient_type(nexus))
    images = [a_copy(nexus, "images_image", batch_id=batch, filemaker_id=None, order=n) for n in range(3)]
    nexus.execute("UPDATE images_image SET told = 'by post', \"told %%\" = '{by phone}' WHERE batch_id = %s", batch)
    nexus.execute("UPDATE images_image SET said = 'null' WHERE id = %s", images[1])
    kept = "SELECT t::text FROM images_image t WHERE batch_id = %s ORDER BY id"
    linked = nexus.execute(kept, batch)
    with pytest.raises(BackupStop, match="--newer set-aside") as caught:
        give_back(nexus, folder)
    assert all(row in caught.value.what for row in (batch, *images))
    report = give_back(nexus, folder, newer="set-aside")
    assert nexus.digests() == before
    assert {(rows.table, rows.done, rows.ids) for rows in report.newer} == {
        ("patients", KEPT, (patient,)),
        ("images_batch", "set aside", (batch,)),
        ("images_image", "set aside", tuple(sorted(images))),
    }
    assert (of(report, "images_batch").set_aside, of(report, "images_image").set_aside) == (1, 3)
    aside = "SELECT table_name, row_key FROM fm_pipeline.set_aside_rows WHERE table_name <> 'patients' ORDER BY 1, 2"
    assert nexus.execute(aside) == [("images_batch", batch), *(("images_image", row) for row in sorted(images))]
    for table in ("images_batch", "images_image"):
        nexus.execute(
            f"INSERT INTO {table} SELECT (json_populate_record(NULL::{table}, content)).*"  # noqa: S608
            " FROM fm_pipeline.set_aside_rows WHERE table_name = %s",
            table,
        )
    assert nexus.execute("SELECT count(said) FROM images_image") == [(0,)]
    nexus.execute(
        "UPDATE images_image SET said = 'null' FROM fm_pipeline.set_aside_rows"
        " WHERE row_key = images_image.id::text AND (content -> 'json null')::jsonb ? 'said'"
    )
    assert nexus.execute(kept, batch) == linked


@pytest.mark.usefixtures("staged_once")
def test_rows_linked_since_are_repointed_to_the_backups_row_of_the_same_filemaker_record(
    bench: MigrationBench,
) -> None:
    """A patient of the backup was deleted and imported again under another id, and an image was linked to that one."""
    bench.reimport()
    folder, before = backup(bench), bench.digests()
    again = "00000000-0000-4000-8000-000000000001"
    ((patient,),) = bench.execute("SELECT min(id::text) FROM patients WHERE filemaker_metadata ? 'filemaker_id'")
    children = ("appointments", "notes", "letters_patientletter", "reminders", "sms_messages", "xero_contact_links")
    bench.execute(
        f"UPDATE patients SET id = '{again}' WHERE id = '{patient}';"  # noqa: S608
        + ";".join(
            f"UPDATE {table} SET patient_id = '{again}' WHERE patient_id = '{patient}'"  # noqa: S608
            for table in (*children, "xero_invoices", "audit_log")
        )
    )
    batch = a_copy(bench, "images_batch", object_id=again, content_type_id=patient_type(bench))
    report = give_back(bench, folder)
    assert bench.execute("SELECT object_id::text FROM images_batch WHERE id = %s", batch) == [(patient,)]
    (led,) = [rows for rows in report.newer if rows.table != "patients"]
    assert (led.table, led.done, led.ids) == ("images_batch", "re-pointed to the row of the backup", (batch,))
    bench.execute("DELETE FROM images_batch WHERE id = %s", batch)
    assert bench.digests() == before


def test_a_row_linked_since_is_repointed_also_if_the_backups_ids_are_in_capitals(nexus: MigrationBench) -> None:
    """Before the first reimport Nexus may keep them as FileMaker's Get ( UUID ) writes them; a reimport does not."""
    nexus.execute(
        "ALTER TABLE appointments ALTER filemaker_event_id TYPE varchar(40) USING upper(filemaker_event_id::text)"
    )
    folder = backup(nexus)
    ((appointment,),) = nexus.execute(
        "SELECT min(a.id::text) FROM appointments a WHERE filemaker_event_id IS NOT NULL AND NOT EXISTS"
        " (SELECT FROM xero_invoice_items i WHERE i.appointment_id = a.id)"
    )
    again = "00000000-0000-4000-8000-000000000002"
    nexus.execute(
        f"SET CONSTRAINTS ALL DEFERRED; UPDATE appointments SET id = '{again}',"  # noqa: S608
        f" filemaker_event_id = lower(filemaker_event_id) WHERE id = '{appointment}';"
        + "".join(
            f"UPDATE {table} SET {name} = '{again}' WHERE {name} = '{appointment}';"  # noqa: S608
            for table, name in (
                ("sms_messages", "appointment_id"),
                ("xero_invoices", "appointment_id"),
                ("appointments", "parent_appointment_id"),
            )
        )
    )
    invoice = a_copy(nexus, "xero_invoices", appointment_id=again, number="another")
    give_back(nexus, folder)
    assert nexus.execute("SELECT appointment_id::text FROM xero_invoices WHERE id = %s", invoice) == [(appointment,)]


def test_a_row_made_since_that_has_a_number_of_a_row_of_the_backup_is_named_and_can_be_set_aside(
    nexus: MigrationBench,
) -> None:
    folder, before = backup(nexus), nexus.digests()
    ((row, number),) = nexus.execute(
        "SELECT id::text, number FROM xero_invoices i WHERE NOT EXISTS"
        " (SELECT 1 FROM xero_invoice_items WHERE invoice_id = i.id) ORDER BY id LIMIT 1"
    ) or [("", "")]
    if not row:
        ((row, number),) = nexus.execute("SELECT id::text, number FROM xero_invoices ORDER BY id LIMIT 1")
        nexus.execute("DELETE FROM xero_invoice_items WHERE invoice_id = %s", row)
    nexus.execute("DELETE FROM xero_invoices WHERE id = %s", row)
    newer = a_copy(nexus, "xero_invoices", number=number)
    with pytest.raises(BackupStop, match=rf"1 row of xero_invoices \(xero_invoices_number_key\).*{newer}"):
        give_back(nexus, folder)
    report = give_back(nexus, folder, newer="set-aside")
    assert report.newer == [
        NewerRows("xero_invoices", "xero_invoices (xero_invoices_number_key)", "set aside", (newer,))
    ]
    assert nexus.digests() == before


def test_a_reference_that_a_check_does_not_let_be_null_is_reported_without_an_error(nexus: MigrationBench) -> None:
    nexus.execute(
        "UPDATE xero_contact_links SET company_id = NULL WHERE patient_id IS NOT NULL;"
        "DELETE FROM xero_contact_links WHERE patient_id IS NULL AND company_id IS NULL;"
        "ALTER TABLE xero_contact_links ADD CONSTRAINT one_owner CHECK (num_nonnulls(patient_id, company_id) = 1)"
    )
    folder, before = backup(nexus), nexus.digests()
    patient = a_new_patient(nexus)
    link = a_copy(nexus, "xero_contact_links", patient_id=patient, company_id=None, xero_contact_id="new")
    with pytest.raises(BackupStop, match=rf"xero_contact_links\.patient_id .*{link}"):
        give_back(nexus, folder)
    give_back(nexus, folder, newer="set-aside")
    assert nexus.digests() == before


def test_the_text_of_a_stop_holds_no_more_ids_than_a_page(nexus: MigrationBench) -> None:
    folder = backup(nexus)
    patient = a_new_patient(nexus)
    nexus.execute(
        "INSERT INTO xero_invoices SELECT (jsonb_populate_record(NULL::xero_invoices, to_jsonb(t) ||"
        " jsonb_build_object('id', gen_random_uuid(),"
        " 'number', 'n' || n, 'patient_id', %s::text))).* FROM (SELECT * FROM xero_invoices LIMIT 1) t,"
        " generate_series(1, 60) n",
        patient,
    )
    with pytest.raises(BackupStop, match=r"60 rows.* and 10 more\)"):
        give_back(nexus, folder)
    assert list_backups(nexus.settings)


def test_rows_of_a_partitioned_table_that_come_from_filemaker_are_not_saved_as_if_users_had_entered_them(
    nexus: MigrationBench,
) -> None:
    nexus.execute(
        "ALTER TABLE notes RENAME TO notes_before; CREATE TABLE notes (LIKE notes_before, PRIMARY KEY (id, created_at))"
        " PARTITION BY RANGE (created_at); CREATE TABLE notes_of_all PARTITION OF notes DEFAULT;"
        "INSERT INTO notes SELECT * FROM notes_before; DROP TABLE notes_before;"
        "ALTER TABLE notes ADD FOREIGN KEY (patient_id) REFERENCES patients DEFERRABLE INITIALLY DEFERRED"
    )
    before = nexus.digests()
    report = nexus.extract_and_stage().reimport()
    assert report.tables["notes"].inserted
    restored = give_back(nexus, list_backups(nexus.settings)[0].folder)
    assert [rows for rows in restored.newer if rows.table == "notes"] == []
    assert nexus.digests() == before


def test_a_clinic_that_was_deleted_and_made_again_is_named_and_nothing_is_changed(nexus: MigrationBench) -> None:
    folder = backup(nexus)
    ((old,),) = nexus.execute("SELECT min(clinic_id::text) FROM patients")
    new = a_copy(nexus, "clinics", filemaker_id=None)
    tables = nexus.execute("SELECT conrelid::regclass::text FROM pg_constraint WHERE confrelid = 'clinics'::regclass")
    for (table,) in tables:
        nexus.execute(f"UPDATE {table} SET clinic_id = %s WHERE clinic_id = %s", new, old)  # noqa: S608
    nexus.execute(
        "WITH gone AS (DELETE FROM clinics WHERE id = %s RETURNING filemaker_id)"
        " UPDATE clinics SET filemaker_id = (SELECT filemaker_id FROM gone) WHERE id = %s",
        old,
        new,
    )
    before = nexus.digests()
    with pytest.raises(BackupStop, match="deleted since, and other rows have their unique values by now") as caught:
        give_back(nexus, folder)
    assert f"clinics (clinics_filemaker_id_key): {new}." in caught.value.what
    assert nexus.digests() == before
    nexus.execute("UPDATE clinics SET filemaker_id = NULL WHERE id = %s", new)
    give_back(nexus, folder)
    assert nexus.execute("SELECT count(*) > 0 FROM patients WHERE clinic_id = %s", old) == [(True,)]
    assert nexus.execute("SELECT count(*) FROM clinics WHERE id = %s", new) == [(1,)]
