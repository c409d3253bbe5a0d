"""Triggers that empty, alter or drop a table, or write to one: named before the commit, and nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg2.extensions
import pytest

from fm_pipeline.entities.registry import Phase
from fm_pipeline.errors import CatalogueStop, ValidationStop
from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline_tests.nexus.backup.restoring import give_back
from fm_pipeline_tests.support.clinics import MigrationBench

THIRD_TABLES = """
CREATE SCHEMA elsewhere; CREATE SCHEMA elsewhere_2;
CREATE TABLE visits (id integer, year integer) PARTITION BY LIST (year);
CREATE TABLE visits_2023 PARTITION OF visits FOR VALUES IN (2023);
CREATE TABLE visits_2024 PARTITION OF visits FOR VALUES IN (2024);
CREATE TABLE visits_2025 PARTITION OF visits FOR VALUES IN (2025);
CREATE TABLE events (id integer, year integer) PARTITION BY LIST (year);
CREATE TABLE events_2024 PARTITION OF events FOR VALUES IN (2024);
CREATE TABLE parents (id integer PRIMARY KEY);
CREATE TABLE children (parent integer REFERENCES parents);
CREATE MATERIALIZED VIEW names AS SELECT last_name FROM patients;
SELECT lo_create(4711);
"""
EMPTIED = r" \(emptied by TRUNCATE, or rewritten\)"
# By table: what a trigger does to it, and what is said. The tables that are not made above have two rows of text.
STOPPED = {
    "truncated": ("TRUNCATE truncated", EMPTIED),
    "deleted": ("DELETE FROM deleted; TRUNCATE deleted RESTART IDENTITY", EMPTIED),
    "elsewhere.truncated": ("TRUNCATE elsewhere.truncated", EMPTIED),
    "visits_2023": ("TRUNCATE visits_2023", EMPTIED),
    "visits_2024": ("ALTER TABLE visits DETACH PARTITION visits_2024", r" \(altered\)"),
    "visits_2025": ("DROP TABLE visits_2025", r" \(dropped\)"),
    "events_2024": ("TRUNCATE events", EMPTIED),
    "children": ("TRUNCATE parents CASCADE", EMPTIED),
    "dropped": ("DROP TABLE dropped", r" \(dropped\)"),
    "retyped": ("ALTER TABLE retyped ALTER line TYPE varchar USING line || line", EMPTIED),
    "narrowed": ("ALTER TABLE narrowed DROP line", r" \(altered\)"),
    "moved": ("ALTER TABLE moved SET SCHEMA elsewhere_2", r" \(altered\)"),
    "renamed": ("ALTER TABLE renamed RENAME TO other", r" \(altered\)"),
    "core_bookmark": ("EXECUTE 'TRUNCATE core_bookmark'", EMPTIED),
    "fm_pipeline.retired_patient_ids": ("TRUNCATE fm_pipeline.retired_patient_ids", EMPTIED),
    "fm_pipeline.crosswalk": ("DELETE FROM fm_pipeline.crosswalk WHERE entity = 'image'", r" \(\d+\)"),
    "updated": ("UPDATE updated SET line = 'z'", r" \(2\)"),
    "large objects": ("PERFORM lo_unlink(4711)", r" \(1 pages or entries\)"),
}


@pytest.fixture
def third_tables(staged: MigrationBench) -> Iterator[MigrationBench]:
    """The staged clinic with tables that a reimport never touches."""
    staged.execute(THIRD_TABLES)
    ((there,),) = staged.execute("SELECT array_agg(c.oid::regclass::text) FROM pg_class c WHERE relkind IN ('r', 'p')")
    made = [name for name in STOPPED if name not in (*there, "large objects")]
    for name in made:
        staged.execute(f"CREATE TABLE {name} (line text); INSERT INTO {name} VALUES ('a'), ('b')")  # noqa: S608
    yield staged
    staged.execute(
        "DROP FUNCTION IF EXISTS meddle CASCADE; DROP SCHEMA elsewhere, elsewhere_2 CASCADE;"
        "DROP MATERIALIZED VIEW names; SELECT lo_unlink(4711);"
        f"DROP TABLE visits, events, children, parents, {', '.join(name for name in made if '.' not in name)}"
    )


def _trigger(bench: MigrationBench, body: str, when: str = "AFTER UPDATE", table: str = "patients") -> None:
    bench.execute(
        f"CREATE OR REPLACE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NULL; END $$;"
        f"CREATE TRIGGER meddle {when} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION meddle()"
    )


def test_a_table_that_a_trigger_empties_alters_drops_or_writes_is_named_before_the_commit(
    third_tables: MigrationBench,
) -> None:
    _trigger(third_tables, "; ".join(statement for statement, _ in STOPPED.values()))
    before = third_tables.digests()
    with pytest.raises(ValidationStop, match="nothing_else_written") as caught:
        third_tables.plan()
    for table, (_, said) in STOPPED.items():
        assert re.search(rf"(: |, ){re.escape(table)}{said}", caught.value.what), table
    assert "NEXUS_TRIGGER_TABLES" in caught.value.remedy
    assert third_tables.digests() == before


def test_a_trigger_that_waits_for_the_end_of_the_transaction_is_found_too(third_tables: MigrationBench) -> None:
    _trigger(third_tables, "TRUNCATE truncated")
    third_tables.execute(
        "DROP TRIGGER meddle ON patients; CREATE CONSTRAINT TRIGGER meddle AFTER UPDATE ON patients"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION meddle()"
    )
    with pytest.raises(ValidationStop, match=r"truncated \(emptied"):
        third_tables.plan()


def test_a_trigger_that_loses_no_row_is_no_hindrance(third_tables: MigrationBench) -> None:
    _trigger(
        third_tables,
        "LOCK TABLE truncated; REFRESH MATERIALIZED VIEW names;"
        "CREATE TEMP TABLE IF NOT EXISTS scratch AS SELECT * FROM truncated; TRUNCATE scratch;"
        "BEGIN TRUNCATE updated; RAISE EXCEPTION 'x'; EXCEPTION WHEN raise_exception THEN END;"
        "BEGIN DELETE FROM deleted; RAISE EXCEPTION 'x'; EXCEPTION WHEN raise_exception THEN END;"
        "UPDATE updated SET line = line",
    )
    checks = {check.name: check for check in third_tables.plan().report.checks}
    assert checks["nothing_else_written"].holds


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("TRUNCATE xero_contact_links", r"xero_contact_links \(emptied by TRUNCATE"),
        ("TRUNCATE documents_document", r"documents_document \(emptied by TRUNCATE"),
        ("LOCK TABLE xero_contact_links, clinics", r"clinics \(locked.*xero_contact_links \(locked exclusively"),
        ("LOCK TABLE truncated; UPDATE truncated SET line = line", r"truncated \(2\)"),
    ],
)
def test_a_table_locked_by_a_trigger_is_named_and_nothing_waits_forever(
    third_tables: MigrationBench, body: str, match: str
) -> None:
    """Another connection compares the rows, and cannot read what the transaction has locked exclusively."""
    _trigger(third_tables, body)
    with pytest.raises(ValidationStop, match=match):
        third_tables.plan()


def test_rows_of_a_table_that_inherits_from_one_of_nexus_are_not_blamed_on_a_trigger(staged: MigrationBench) -> None:
    """They are rows of both tables, so a statement on the parent writes them."""
    staged.execute(
        "CREATE TABLE notes_archive () INHERITS (notes); INSERT INTO notes_archive SELECT (jsonb_populate_record(n,"
        " jsonb_build_object('id', gen_random_uuid(), 'content', 'old'))).* FROM ONLY notes n LIMIT 2"
    )
    before = staged.digests()
    try:
        with pytest.raises(ValidationStop, match=r"notes_archive inherits from notes: .* NO INHERIT") as stop:
            staged.plan()
        assert "trigger" not in str(stop.value)
        assert staged.digests() == before
    finally:
        staged.execute("DROP TABLE notes_archive")


def test_a_trigger_that_deletes_from_a_table_of_another_phase_is_found(staged: MigrationBench) -> None:
    _trigger(staged, "DELETE FROM notes WHERE id IN (SELECT id FROM notes LIMIT 3)")
    try:
        with pytest.raises(ValidationStop, match="notes_count"):
            staged.plan(phases=[Phase.PATIENTS])
    finally:
        staged.execute("DROP FUNCTION meddle CASCADE")


def test_a_trigger_that_adds_a_row_to_a_table_that_is_cleared_is_found(staged: MigrationBench) -> None:
    _trigger(
        staged,
        "INSERT INTO reminders (id, patient_id, note, status, created_at, updated_at)"
        " SELECT gen_random_uuid(), nexus_id, '', 'pending', now(), now() FROM fm_pipeline.staged_patients LIMIT 1",
    )
    try:
        with pytest.raises(ValidationStop, match="reminders_count"):
            staged.plan()
    finally:
        staged.execute("DROP FUNCTION meddle CASCADE")


AUDIT = """
CREATE SCHEMA history;
CREATE TABLE history.events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, about uuid, what text NOT NULL);
INSERT INTO history.events (what) VALUES ('made');
CREATE FUNCTION record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    {insert}; RETURN NULL; END $$;
CREATE TRIGGER record AFTER INSERT OR UPDATE OR DELETE ON patients FOR EACH ROW EXECUTE FUNCTION record()
"""
RECORD = "INSERT INTO history.events (about, what) VALUES (coalesce(NEW.id, OLD.id), TG_OP)"
UNDO_AUDIT = "DROP FUNCTION record CASCADE; DROP SCHEMA history CASCADE"


@pytest.mark.usefixtures("staged_once")
def test_a_table_of_the_setting_may_get_new_rows_from_triggers(bench: MigrationBench) -> None:
    bench.execute(AUDIT.format(insert=RECORD))
    bench = bench.with_settings(nexus_trigger_tables="history.events")
    report = bench.reimport()
    changes = report.tables["patients"]
    folder = list_backups(bench.settings)[0].folder
    told = dict(bench.execute("SELECT what, count(*) FROM history.events GROUP BY what"))
    assert told == {"made": 1, "UPDATE": changes.updated, "DELETE": changes.deleted} | (
        {"INSERT": changes.inserted} if changes.inserted else {}
    )
    assert give_back(bench, folder).committed


@pytest.mark.usefixtures("staged_once")
def test_a_table_of_the_setting_may_get_new_rows_from_event_triggers(bench: MigrationBench) -> None:
    """They record the temporary tables of a reimport, a backup's trial and a restore."""
    bench.execute(
        "CREATE TABLE statements (id serial PRIMARY KEY, tag text);"
        "CREATE FUNCTION record() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO public.statements (tag) VALUES (tg_tag); END $$;"
        "CREATE EVENT TRIGGER record ON ddl_command_end EXECUTE FUNCTION record()"
    )
    with pytest.raises(ValidationStop, match=r"statements \(\d+\)"):
        bench.plan()
    bench = bench.with_settings(nexus_trigger_tables="statements")
    bench.reimport()
    assert give_back(bench, list_backups(bench.settings)[0].folder).committed


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ("UPDATE history.events SET what = 'x' WHERE what = 'made'", r"history.events \(1 rows changed or deleted"),
        ("TRUNCATE history.events", r"history.events \(emptied by TRUNCATE"),
    ],
)
def test_a_trigger_table_may_only_gain_rows(staged: MigrationBench, more: str, match: str) -> None:
    staged.execute(AUDIT.format(insert=f"{RECORD}; {more}"))
    try:
        with pytest.raises(ValidationStop, match=match):
            staged.with_settings(nexus_trigger_tables="history.events").plan()
    finally:
        staged.execute(UNDO_AUDIT)


def test_a_table_of_the_setting_that_is_not_there_is_named(staged: MigrationBench) -> None:
    with pytest.raises(CatalogueStop, match=r"NEXUS_TRIGGER_TABLES names a table that is not .*: history.event\."):
        staged.with_settings(nexus_trigger_tables="audit_log, history.event").plan()


@pytest.mark.usefixtures("staged_once")
def test_a_trigger_table_that_refers_to_patients_is_repointed_and_may_grow(bench: MigrationBench) -> None:
    """Its rows that were there stay as they were, but for the reference to a patient who goes."""
    bench.execute(
        "CREATE FUNCTION record() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO audit_log (action, details, created_at) VALUES (TG_OP, '{}', now()); RETURN NULL; END $$;"
        "CREATE TRIGGER record AFTER UPDATE ON patients FOR EACH ROW EXECUTE FUNCTION record()"
    )
    bench = bench.with_settings(nexus_trigger_tables="audit_log")
    bench.execute(
        "INSERT INTO audit_log (patient_id, action, details, created_at) SELECT id, 'seen', '{}', now() FROM patients p"
        " WHERE p.id NOT IN (SELECT nexus_id FROM fm_pipeline.staged_patients)"
    )
    ((before,),) = bench.execute("SELECT count(*) FROM audit_log")
    report = bench.reimport()
    ((after,),) = bench.execute("SELECT count(*) FROM audit_log")
    assert after == before + report.tables["patients"].updated
    assert bench.execute("SELECT count(*) FROM audit_log WHERE action = 'seen' AND patient_id IS NOT NULL") == [(0,)]


def test_a_write_to_a_foreign_table_is_found(third_tables: MigrationBench) -> None:
    if not third_tables.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'postgres_fdw'"):
        pytest.skip("this PostgreSQL has no postgres_fdw; FM_PIPELINE_POSTGRESQL can name one that has it")
    target = psycopg2.extensions.parse_dsn(third_tables.database_url)
    third_tables.execute(
        "CREATE EXTENSION postgres_fdw;"
        f"CREATE SERVER itself FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{target['host']}',"
        f" port '{target['port']}', dbname '{target['dbname']}');"
        f"CREATE USER MAPPING FOR CURRENT_USER SERVER itself OPTIONS (user '{target['user']}',"
        f" password '{target['password']}');"
        "CREATE FOREIGN TABLE elsewhere.far (line text) SERVER itself"
        " OPTIONS (schema_name 'public', table_name 'truncated')"
    )
    try:
        _trigger(third_tables, "PERFORM * FROM elsewhere.far")
        checks = {check.name: check for check in third_tables.plan().report.checks}
        assert checks["nothing_else_written"].holds, "who only reads is no hindrance"
        third_tables.execute("DROP FUNCTION meddle CASCADE")
        _trigger(third_tables, "INSERT INTO elsewhere.far VALUES ('c')")
        with pytest.raises(ValidationStop, match=r"elsewhere.far \(a foreign table\)"):
            third_tables.plan()
    finally:
        third_tables.execute("DROP EXTENSION postgres_fdw CASCADE")
