"""Restores find an order of writes that constraints accept: nothing is emptied on the way, no key is broken between."""

# ruff: noqa: S608  # the names of tables are those of this file

from __future__ import annotations

import pytest

from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline_tests.nexus.backup.restoring import backup, give_back
from fm_pipeline_tests.support.clinics import MigrationBench


@pytest.mark.usefixtures("staged_once")
def test_a_patient_loaded_twice_whose_contact_link_is_under_a_check_comes_back(bench: MigrationBench) -> None:
    """The reimport leads the second row's link to the first; to empty the column on the way back is forbidden."""
    twice = "00000000-0000-4000-8000-000000000001"
    ((link,),) = bench.execute(
        "SELECT min(x.id::text) FROM xero_contact_links x JOIN fm_pipeline.staged_patients s"
        " ON s.nexus_id = x.patient_id"
    )
    bench.execute(
        "DELETE FROM xero_contact_links WHERE id <> %s AND company_id IS NULL;"
        "UPDATE xero_contact_links SET patient_id = NULL WHERE company_id IS NOT NULL;"
        "ALTER TABLE xero_contact_links ADD CONSTRAINT one_owner CHECK (num_nonnulls(patient_id, company_id) = 1),"
        " ADD CONSTRAINT once UNIQUE (patient_id);"
        "INSERT INTO patients SELECT (jsonb_populate_record(NULL::patients, to_jsonb(p) || jsonb_build_object('id',"
        " %s::text, 'mrn', NULL))).* FROM patients p JOIN xero_contact_links x ON x.patient_id = p.id WHERE x.id = %s;"
        "UPDATE xero_contact_links SET patient_id = %s WHERE id = %s",
        *(link, twice, link, twice, link),
    )
    bench.extract_and_stage()
    before = bench.digests()
    bench.reimport()
    assert bench.execute("SELECT count(*) FROM patients WHERE id = %s", twice) == [(0,)]
    folder = list_backups(bench.settings)[0].folder
    give_back(bench, folder)
    assert bench.digests() == before
    assert give_back(bench, folder).changed_rows == 0


RULES = (
    "ALTER TABLE {} ADD UNIQUE (number)",
    "ALTER TABLE {} ADD UNIQUE (number) DEFERRABLE INITIALLY DEFERRED",
    "ALTER TABLE {} ADD UNIQUE (number) DEFERRABLE",
    "ALTER TABLE {} ALTER number SET NOT NULL, ADD UNIQUE (number)",
    "ALTER TABLE {} ADD UNIQUE (number), ADD CHECK (number IS NOT NULL OR id IS NULL)",
    "ALTER TABLE {} ADD EXCLUDE USING gist (lasts WITH &&)",
    "ALTER TABLE {} ADD EXCLUDE USING gist (lasts WITH &&) WHERE (number IS NOT NULL) DEFERRABLE",
    "CREATE UNIQUE INDEX ON {} (lower(number))",
    "CREATE UNIQUE INDEX ON {} (number) WHERE number <> ''",
    "CREATE UNIQUE INDEX ON {} (number, place)",
    "ALTER TABLE {} ADD doubled text GENERATED ALWAYS AS (number || number) STORED UNIQUE",
)
NULLS_EQUAL = "CREATE UNIQUE INDEX ON {} (number, (NULLIF(number, number))) NULLS NOT DISTINCT"  # since PostgreSQL 15
CARDS = (
    "CREATE TABLE {0} (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), patient_id uuid REFERENCES patients"
    " DEFERRABLE INITIALLY DEFERRED, number varchar(9), place integer NOT NULL DEFAULT 0, lasts int4range);"
    "INSERT INTO {0} (patient_id, number, lasts) SELECT id, n, int4range(n::int, n::int + 1)"
    " FROM (SELECT id, row_number() OVER () AS n FROM patients) p;"
)
# Each row gets the number and the time of the next one.
SHIFTED = (
    "CREATE TEMP TABLE old AS SELECT *, coalesce(lead(number) OVER w, first_value(number) OVER w) AS next FROM {0}"
    " WINDOW w AS (ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING); DELETE FROM {0};"
    "INSERT INTO {0} (id, patient_id, number, place, lasts) SELECT id, patient_id, next, place, int4range(next::int,"
    " next::int + 1) FROM old; DROP TABLE old;"
)


def test_rows_that_exchanged_unique_values_get_their_own_back(nexus: MigrationBench) -> None:
    """Unique and exclusion constraints, at once and later; indexes of expressions, of some rows, with equal nulls."""
    rules = RULES + ((NULLS_EQUAL,) if nexus.execute("SHOW server_version_num")[0][0] >= "150000" else ())
    tables = [f"cards_{number}" for number in range(len(rules))]
    for table, rule in zip(tables, rules, strict=True):
        nexus.execute(CARDS.format(table))
        nexus.execute(rule.format(table))
    folder, before = backup(nexus), nexus.digests()
    for table in tables:
        nexus.execute(SHIFTED.format(table))
    assert {table for table in tables if nexus.digests()[table] == before[table]} == set()
    give_back(nexus, folder)
    assert nexus.digests() == before


def test_rows_that_a_trigger_does_not_let_be_deleted_get_their_exchanged_values_back(nexus: MigrationBench) -> None:
    nexus.execute(CARDS.format("cards"))
    nexus.execute("ALTER TABLE cards ADD UNIQUE (number)")
    folder, before = backup(nexus), nexus.digests()
    nexus.execute(SHIFTED.format("cards"))
    nexus.execute(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER keep BEFORE DELETE ON cards FOR EACH ROW EXECUTE FUNCTION keep()"
    )
    give_back(nexus, folder)
    assert nexus.digests() == before


def test_rows_with_identities_that_cannot_be_updated_come_back_with_their_cascading_children(
    nexus: MigrationBench,
) -> None:
    nexus.execute(CARDS.format("cards"))
    nexus.execute(
        "ALTER TABLE cards ADD code bigint GENERATED ALWAYS AS IDENTITY UNIQUE, ADD UNIQUE (number);"
        "CREATE TABLE stamps (id serial PRIMARY KEY, patient_id uuid REFERENCES patients, card_id uuid NOT NULL"
        " REFERENCES cards ON DELETE CASCADE);"
        "INSERT INTO stamps (patient_id, card_id) SELECT patient_id, id FROM cards"
    )
    folder, before = backup(nexus), nexus.digests()
    nexus.execute("SET session_replication_role = replica;" + SHIFTED.format("cards"))
    give_back(nexus, folder)
    assert nexus.digests() == before


ACTIONS = ("CASCADE", "SET NULL", "RESTRICT", "NO ACTION")


def test_rows_that_exchanged_a_number_keep_their_dependent_rows(nexus: MigrationBench) -> None:
    """Their rows are not in the backup: nobody would bring them back if they were deleted or emptied on the way."""
    for number, action in enumerate(ACTIONS):
        nexus.execute(CARDS.format(f"cards_{number}"))
        nexus.execute(
            f"ALTER TABLE cards_{number} ALTER number SET NOT NULL, ADD UNIQUE (number);"
            f"CREATE TABLE stamps_{number} (id serial PRIMARY KEY, card_id uuid REFERENCES cards_{number}"
            f" ON DELETE {action})"
        )
    folder, before = backup(nexus), nexus.digests()
    for number in range(len(ACTIONS)):
        nexus.execute(SHIFTED.format(f"cards_{number}"))
        nexus.execute(f"INSERT INTO stamps_{number} (card_id) SELECT id FROM cards_{number}")
    stamps = {table: digest for table, digest in nexus.digests().items() if table.startswith("stamps")}
    give_back(nexus, folder)
    assert nexus.digests() == before | stamps


CIRCLE = (
    "ALTER TABLE plans_{0} ADD FOREIGN KEY (visit_id) REFERENCES visits_{0} ON DELETE {1},"
    " ADD CHECK (visit_id IS NOT NULL)"
)


def test_tables_that_refer_to_each_other_in_a_circle_come_back_together(nexus: MigrationBench) -> None:
    """Neither can be written first, and neither reference may be empty for a moment."""
    for number, action in enumerate(ACTIONS):
        plans, visits = f"plans_{number}", f"visits_{number}"
        nexus.execute(
            f"CREATE TABLE {plans} (id uuid PRIMARY KEY, patient_id uuid NOT NULL REFERENCES patients, visit_id uuid);"
            f"CREATE TABLE {visits} (id uuid PRIMARY KEY, patient_id uuid REFERENCES patients ON DELETE {action},"
            f" plan_id uuid NOT NULL REFERENCES {plans} ON DELETE {action}, before_id uuid REFERENCES {visits});"
            f"INSERT INTO {plans} SELECT gen_random_uuid(), id FROM patients;"
            f"INSERT INTO {visits} SELECT id, patient_id, id FROM {plans}; UPDATE {plans} SET visit_id = id;"
            f"UPDATE {visits} SET before_id = (SELECT min(id::text)::uuid FROM {visits});"
            + CIRCLE.format(number, action)
        )
    folder, before = backup(nexus), nexus.digests()
    for number, action in enumerate(ACTIONS):
        plans, visits = f"plans_{number}", f"visits_{number}"
        nexus.execute(
            f"ALTER TABLE {plans} DROP CONSTRAINT {plans}_visit_id_fkey, DROP CONSTRAINT {plans}_visit_id_check;"
            f"UPDATE {plans} SET visit_id = NULL; DELETE FROM {visits}; DELETE FROM {plans};"
            + CIRCLE.format(number, action)
        )
    give_back(nexus, folder)
    assert nexus.digests() == before


def test_references_to_a_deleted_row_end_in_the_statement_that_deletes_it(nexus: MigrationBench) -> None:
    """A key that restricts at once, a column under a CHECK, and a patient that the backup does not have."""
    nexus.execute(
        "CREATE TABLE owners (id serial PRIMARY KEY, patient_id uuid REFERENCES patients ON DELETE RESTRICT,"
        " CHECK (patient_id IS NOT NULL)); INSERT INTO owners (patient_id) SELECT id FROM patients;"
        "ALTER TABLE patients ADD mother_id uuid REFERENCES patients ON DELETE CASCADE"
    )
    folder, before = backup(nexus), nexus.digests()
    nexus.execute(
        "INSERT INTO patients SELECT (jsonb_populate_record(NULL::patients, to_jsonb(p) || jsonb_build_object('id',"
        " '00000000-0000-4000-8000-000000000001', 'mrn', NULL, 'filemaker_metadata', NULL, 'notes', NULL))).*"
        " FROM patients p LIMIT 1;"
        "UPDATE owners SET patient_id = '00000000-0000-4000-8000-000000000001';"
        "UPDATE patients SET mother_id = '00000000-0000-4000-8000-000000000001' WHERE mother_id IS NULL"
    )
    give_back(nexus, folder)
    assert nexus.digests() == before


def test_a_table_with_rules_is_written_by_plain_statements(nexus: MigrationBench) -> None:
    nexus.execute("CREATE RULE noted AS ON UPDATE TO notes DO ALSO NOTHING")
    folder, before = backup(nexus), nexus.digests()
    nexus.execute("UPDATE notes SET content = 'changed since'; DELETE FROM reminders")
    give_back(nexus, folder)
    assert nexus.digests() == before


def test_a_constraint_that_refuses_the_rows_is_named_without_a_word_of_filemaker(nexus: MigrationBench) -> None:
    folder = backup(nexus)
    nexus.execute("UPDATE notes SET content = 'y'; ALTER TABLE notes ADD CONSTRAINT short CHECK (length(content) < 2)")
    before = nexus.digests()
    with pytest.raises(BackupStop, match=r"The constraint short of notes refuses rows of the backup") as caught:
        give_back(nexus, folder)
    assert "FileMaker" not in str(caught.value)
    assert nexus.digests() == before
