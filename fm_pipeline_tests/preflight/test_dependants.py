"""What depends on a patient: read from the catalogue, never from a list. Tables that the code has never heard of."""

from __future__ import annotations

import pytest

from fm_pipeline.errors import CatalogueStop, DatabaseError, StagingStop, ValidationStop
from fm_pipeline.sequence.report_terminal import report_lines
from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench


def _table(bench: MigrationBench, columns: str, *rows: str) -> None:
    bench.execute(f"CREATE TABLE a_stranger (id serial PRIMARY KEY, {columns})")
    for row in rows:
        bench.execute(f"INSERT INTO a_stranger {row}")


@pytest.mark.hard_case(10)
def test_a_nullable_reference_of_an_unknown_table_becomes_null_and_its_row_stays(
    bench: MigrationBench, gone: str
) -> None:
    _table(bench, "patient_id uuid REFERENCES patients", f"(patient_id) VALUES ('{gone}')")
    report = bench.reimport()
    assert bench.execute("SELECT id, patient_id FROM a_stranger") == [(1, None)]
    assert [r for r in report.references if r["table"] == "a_stranger"] == [
        {"table": "a_stranger", "column": "patient_id", "to": "patients", "repointed": 0, "set_to_null": 1}
    ]


@pytest.mark.parametrize("action", ["NO ACTION DEFERRABLE INITIALLY DEFERRED", "RESTRICT", "CASCADE", "SET DEFAULT"])
@pytest.mark.hard_case(10)
def test_a_reference_that_may_not_be_null_stops_whatever_the_constraint_would_do(
    bench: MigrationBench, gone: str, action: str
) -> None:
    _table(
        bench,
        f"owner uuid NOT NULL CONSTRAINT stranger_owner REFERENCES patients ON DELETE {action}",
        f"(owner) VALUES ('{gone}')",
    )
    before = bench.digests()
    with pytest.raises(CatalogueStop, match=r"1 row of a_stranger.owner \(stranger_owner\)"):
        bench.plan()
    assert bench.digests() == before


@pytest.mark.hard_case(10)
def test_a_cascade_has_nothing_to_cascade(bench: MigrationBench, gone: str) -> None:
    ((kept,),) = bench.execute("SELECT id FROM patients WHERE id <> %s ORDER BY id LIMIT 1", gone)
    _table(
        bench,
        "patient_id uuid REFERENCES patients ON DELETE CASCADE",
        f"(patient_id) VALUES ('{kept}')",
        f"(patient_id) VALUES ('{gone}')",
    )
    bench.reimport()
    assert bench.execute("SELECT id, patient_id FROM a_stranger ORDER BY id") == [(1, kept), (2, None)]


@pytest.mark.hard_case(10)
def test_a_generic_key_of_an_unknown_table_is_found_by_its_columns(bench: MigrationBench, gone: str) -> None:
    ((patient_type,),) = bench.execute("SELECT id FROM django_content_type WHERE model = 'patient'")
    _table(
        bench,
        "target_content_type_id integer, target_object_id varchar(64)",
        f"(target_content_type_id, target_object_id) VALUES ({patient_type}, '{gone}')",
        f"(target_content_type_id, target_object_id) VALUES ({patient_type + 999}, '{gone}')",
        f"(target_content_type_id, target_object_id) VALUES ({patient_type}, '{gone.replace('-', '').upper()}')",
        f"(target_content_type_id, target_object_id) VALUES ({patient_type}, '1234')",
    )
    bench.reimport()
    assert bench.execute("SELECT target_object_id FROM a_stranger ORDER BY id") == [
        (None,),
        (gone,),
        (None,),
        ("1234",),
    ]


@pytest.mark.hard_case(10)
def test_an_appointment_that_goes_is_taken_out_of_the_tables_that_point_to_it(bench: MigrationBench, gone: str) -> None:
    ((appointment,),) = bench.execute(
        "SELECT id FROM appointments WHERE patient_id = %s AND id NOT IN"
        " (SELECT appointment_id FROM xero_invoice_items WHERE appointment_id IS NOT NULL) ORDER BY id LIMIT 1",
        gone,
    )
    _table(bench, "appointment uuid REFERENCES appointments", f"(appointment) VALUES ('{appointment}')")
    bench.execute(
        "UPDATE appointments SET parent_appointment_id = %s WHERE id ="
        " (SELECT id FROM appointments WHERE patient_id <> %s AND filemaker_event_id IN"
        "  (SELECT filemaker_key::uuid FROM fm_pipeline.source_records WHERE entity = 'appointment')"
        "  ORDER BY id LIMIT 1)",
        appointment,
        gone,
    )
    bench.reimport()
    assert bench.execute("SELECT appointment FROM a_stranger") == [(None,)]
    assert bench.execute("SELECT count(*) FROM appointments WHERE parent_appointment_id = %s", appointment) == [(0,)]


@pytest.mark.hard_case(10)
@pytest.mark.usefixtures("staged_once")
def test_a_foreign_key_of_several_columns_stops_by_name(bench: MigrationBench) -> None:
    bench.execute("ALTER TABLE patients ADD CONSTRAINT id_and_title UNIQUE (id, title)")
    _table(bench, "p uuid, t varchar, CONSTRAINT two_columns FOREIGN KEY (p, t) REFERENCES patients (id, title)")
    with pytest.raises(CatalogueStop, match=r"a_stranger \(two_columns\)"):
        bench.plan()


@pytest.mark.hard_case(8)
@pytest.mark.usefixtures("staged_once")
def test_a_column_that_must_be_given_and_that_nobody_knows_stops_before_anything(bench: MigrationBench) -> None:
    bench.execute(
        "ALTER TABLE notes ADD COLUMN ward text NOT NULL DEFAULT ''; ALTER TABLE notes ALTER ward DROP DEFAULT"
    )
    before = bench.digests()
    with pytest.raises(CatalogueStop, match=r"notes has columns that must be given.*: ward"):
        bench.plan()
    assert bench.digests() == before


@pytest.mark.hard_case(8)
@pytest.mark.usefixtures("staged_once")
def test_a_new_column_with_a_default_is_no_hindrance(bench: MigrationBench) -> None:
    bench.execute("ALTER TABLE patients ADD COLUMN ward text NOT NULL DEFAULT 'none', ADD COLUMN bed integer")
    report = bench.reimport()
    assert bench.execute("SELECT DISTINCT ward, bed FROM patients") == [("none", None)]
    assert report.committed


@pytest.mark.usefixtures("staged_once")
def test_a_patient_with_documents_that_filemaker_no_longer_has_stops(bench: MigrationBench) -> None:
    ((key,),) = bench.execute(
        "SELECT filemaker_key FROM fm_pipeline.crosswalk JOIN documents_document ON object_id = nexus_id"
        " WHERE entity = 'patient' ORDER BY 1 LIMIT 1"
    )
    for record_id, layout in bench.execute(
        "SELECT record_id, layout FROM fm_pipeline.source_records JOIN fm_pipeline.source_extractions USING (entity)"
        " WHERE patient_key = %s OR (entity = 'patient' AND filemaker_key = %s)",
        key,
        key,
    ):
        bench.store.delete(DATABASE, layout.removeprefix("API_"), record_id)
    before = bench.digests()
    bench.extract_and_stage()
    with pytest.raises(StagingStop, match=r"file_patient_gone \(document, \d+ documents? of 1 patient\)"):
        bench.plan()
    assert bench.digests() == before


def test_two_rows_of_one_filemaker_patient_become_one_and_everything_follows_it(bench: MigrationBench) -> None:
    """An earlier import ran twice: the older row stays, what points to the other one is led to it."""
    ((kept,),) = bench.execute(
        "SELECT p.id FROM patients p JOIN xero_contact_links x ON x.patient_id = p.id"
        " WHERE filemaker_metadata ->> 'filemaker_id' <> '' ORDER BY p.id LIMIT 1"
    )
    ((twin,),) = bench.execute(
        "INSERT INTO patients SELECT (jsonb_populate_record(p, jsonb_build_object('id', gen_random_uuid(),"
        " 'created_at', p.created_at + interval '1 day', 'mrn', NULL))).* FROM patients p WHERE id = %s RETURNING id",
        kept,
    )
    _table(bench, "patient_id uuid NOT NULL REFERENCES patients", f"(patient_id) VALUES ('{twin}')")
    documents = bench.execute("SELECT count(*) FROM documents_document WHERE object_id = %s", kept)
    bench.execute("UPDATE documents_document SET object_id = %s WHERE object_id = %s", twin, kept)
    report = bench.extract_and_stage().reimport()
    assert bench.execute("SELECT id FROM patients WHERE id IN (%s, %s)", kept, twin) == [(kept,)]
    assert bench.execute("SELECT patient_id FROM a_stranger") == [(kept,)]
    assert bench.execute("SELECT count(*) FROM documents_document WHERE object_id = %s", kept) == documents
    assert {"table": "a_stranger", "column": "patient_id", "to": "patients", "repointed": 1, "set_to_null": 0} in (
        report.references
    )


@pytest.mark.usefixtures("staged_once")
def test_a_trigger_that_changes_what_was_loaded_is_caught_before_the_commit(bench: MigrationBench) -> None:
    bench.execute(
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.last_name = upper(NEW.last_name); RETURN NEW; END $$;"
        "CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON patients FOR EACH ROW EXECUTE FUNCTION shout()"
    )
    before = bench.digests()
    with pytest.raises(ValidationStop, match="patients_content"):
        bench.plan()
    assert bench.digests() == before


@pytest.mark.usefixtures("staged_once")
def test_a_trigger_that_writes_to_another_table_is_caught_before_the_commit(bench: MigrationBench) -> None:
    bench.execute(
        "CREATE TABLE diary (line text);"
        "CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO diary VALUES (TG_OP); RETURN NULL; END $$;"
        "CREATE TRIGGER note_it AFTER UPDATE ON appointments FOR EACH ROW EXECUTE FUNCTION note_it()"
    )
    with pytest.raises(ValidationStop, match=r"nothing_else_written: diary"):
        bench.plan()
    assert bench.execute("SELECT count(*) FROM diary") == [(0,)]


@pytest.mark.usefixtures("staged_once")
@pytest.mark.parametrize(
    ("table", "when", "body"),
    [
        ("documents_document", "BEFORE UPDATE", "NEW.s3_key = NEW.s3_key || '~'; RETURN NEW"),
        (
            "documents_document",
            "AFTER UPDATE",
            "UPDATE documents_document SET s3_key = s3_key || '~' WHERE id <> NEW.id AND s3_key NOT LIKE '%~';"
            " RETURN NULL",
        ),
        ("documents_document", "AFTER UPDATE", "DELETE FROM documents_document WHERE id <> NEW.id; RETURN NULL"),
        ("images_batch", "BEFORE UPDATE", "NEW.name = NEW.name || '~'; RETURN NEW"),
        ("clinics", "AFTER UPDATE OF last_name", "UPDATE clinics SET name = name || '~'; RETURN NULL"),
    ],
)
def test_a_trigger_that_changes_a_file_or_the_configuration_is_caught_before_the_commit(
    bench: MigrationBench, table: str, when: str, body: str
) -> None:
    watched = "patients" if table == "clinics" else table
    bench.execute(
        f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$;"
        f"CREATE TRIGGER meddle {when} ON {watched} FOR EACH ROW EXECUTE FUNCTION meddle()"
    )
    before = bench.digests()
    with pytest.raises(ValidationStop, match=f"{table}_untouched"):
        bench.plan()
    assert bench.digests() == before


@pytest.mark.hard_case(8)
def test_a_constraint_of_nexus_that_a_new_row_breaks_is_named_and_nothing_is_changed(bench: MigrationBench) -> None:
    bench.execute("ALTER TABLE notes ADD CONSTRAINT short CHECK (length(content) < 12) NOT VALID")
    bench.extract_and_stage()
    before = bench.digests()
    with pytest.raises(DatabaseError, match=r"constraint short.*Nexus is unchanged.*correct in FileMaker"):
        bench.plan()
    assert bench.digests() == before


@pytest.mark.hard_case(8)
def test_a_length_that_a_domain_has_is_a_length_and_nothing_is_cut(bench: MigrationBench) -> None:
    bench.execute(
        "CREATE DOMAIN short AS varchar(3) CHECK (VALUE <> 'no');"
        "ALTER TABLE notes ALTER COLUMN created_by TYPE short USING left(created_by, 3)"
    )
    bench.extract_and_stage()
    with pytest.raises(StagingStop, match="value_too_long"):
        bench.plan()


@pytest.mark.hard_case(8)
def test_a_length_behind_two_domains_is_a_length_too(bench: MigrationBench) -> None:
    bench.execute(
        "CREATE DOMAIN short AS varchar(3); CREATE DOMAIN author AS short CHECK (VALUE <> 'no');"
        "ALTER TABLE notes ALTER COLUMN created_by TYPE author USING left(created_by, 3)"
    )
    bench.extract_and_stage()
    with pytest.raises(StagingStop, match="value_too_long"):
        bench.plan()


@pytest.mark.hard_case(8)
@pytest.mark.parametrize("type_", ["varchar(3)", "char(3)", "integer", "author"])
@pytest.mark.usefixtures("staged_once")
def test_a_column_that_was_narrowed_after_the_staging_is_named_and_nothing_is_cut(
    bench: MigrationBench, type_: str
) -> None:
    bench.execute("CREATE TYPE author AS ENUM ('1')")
    bench.execute(f"ALTER TABLE notes ALTER COLUMN created_by TYPE {type_} USING '1'::{type_}")
    before = bench.digests()
    with pytest.raises(CatalogueStop, match=r"do not fit into notes\.created_by \("):
        bench.plan()
    assert bench.digests() == before


@pytest.mark.hard_case(9)
@pytest.mark.usefixtures("reimported_once")
def test_a_row_that_goes_because_a_rule_keeps_its_record_out_is_counted_and_told(bench: MigrationBench) -> None:
    ((record_id,),) = bench.execute(
        "SELECT record_id FROM fm_pipeline.source_records WHERE entity = 'note' ORDER BY record_id LIMIT 1"
    )
    bench.store.edit(DATABASE, "Notes", record_id, {"note": ""})
    report = bench.extract_and_stage().plan().report
    assert (report.tables["notes"].deleted, report.tables["notes"].kept_out) == (1, 1)
    told = "1 note would be deleted. FileMaker still has it, but a rule keeps it out."
    assert told in report.as_markdown()
    assert told in "\n".join(map(str, report_lines(report.as_dict())))


@pytest.mark.hard_case(10)
@pytest.mark.usefixtures("staged_once")
def test_two_rows_of_one_patient_that_may_be_there_once_stop_with_table_and_constraint(
    bench: MigrationBench,
) -> None:
    """Django's many-to-many table: both rows of a patient who is in Nexus twice carry the same tag."""
    ((older, key),) = bench.execute(
        "SELECT nexus_id, filemaker_key FROM fm_pipeline.crosswalk JOIN fm_pipeline.staged_patients"
        " USING (filemaker_key, nexus_id) WHERE entity = 'patient' ORDER BY 1 LIMIT 1"
    )
    twin = "00000000-0000-4000-8000-000000000002"
    bench.execute(
        "INSERT INTO patients (id, first_name, last_name, archived, created_at, updated_at, filemaker_metadata)"
        " VALUES (%s, 'A', 'B', false, now(), now(), jsonb_build_object('filemaker_id', %s::text))",
        twin,
        key,
    )
    _table(
        bench,
        "patient_id uuid NOT NULL REFERENCES patients, tag int, CONSTRAINT one_of_a_kind UNIQUE (patient_id, tag)",
        f"(patient_id, tag) VALUES ('{older}', 1)",
        f"(patient_id, tag) VALUES ('{twin}', 1)",
    )
    before = bench.digests()
    bench.extract_and_stage()
    with pytest.raises(CatalogueStop, match=r"a_stranger.patient_id .*one_of_a_kind"):
        bench.plan()
    assert bench.digests() == before


def test_rows_that_a_constraint_which_is_not_valid_keeps_from_being_emptied_are_named(
    bench: MigrationBench, gone: str
) -> None:
    _table(bench, "patient_id uuid REFERENCES patients, remark text", f"(patient_id) VALUES ('{gone}')")
    bench.execute("ALTER TABLE a_stranger ADD CONSTRAINT filled CHECK (remark IS NOT NULL) NOT VALID")
    with pytest.raises(CatalogueStop, match=r"constraint filled of a_stranger .*\(broken by the rows 1\)") as caught:
        bench.plan()
    assert "Correct these rows of a_stranger in Nexus" in caught.value.remedy


@pytest.mark.usefixtures("staged_once")
def test_rows_of_nexus_that_break_a_constraint_which_is_not_valid_are_not_looked_for_in_filemaker(
    bench: MigrationBench,
) -> None:
    bench.execute(
        "UPDATE patients SET archived_by = 'x';"
        "ALTER TABLE patients ADD CONSTRAINT by_whom CHECK (archived_by <> 'x') NOT VALID"
    )
    ((first,),) = bench.execute("SELECT min(id::text) FROM patients")
    with pytest.raises(CatalogueStop, match=f"NOT VALID constraint by_whom.*{first}") as caught:
        bench.plan()
    assert "Correct these rows in Nexus" in caught.value.remedy
