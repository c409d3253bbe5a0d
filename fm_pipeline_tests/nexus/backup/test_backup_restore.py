"""Restore: every row back as it was, nothing of what users made since lost without a word, or nothing at all."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest
from pydantic import SecretStr

from fm_pipeline.db.connection import connect
from fm_pipeline.db.locks import acquire_reimport_lock
from fm_pipeline.errors import DatabaseError, LockStop
from fm_pipeline.nexus.backup.backup import list_backups, make_backup
from fm_pipeline.nexus.backup.files import BackupStop, new_key
from fm_pipeline.nexus.backup.restore import RestoreReport, restore
from fm_pipeline.nexus.backup.restore_tables import RestoredTable
from fm_pipeline.nexus.grants import RoleNames, grant_statements
from fm_pipeline.sandbox.clinic.change import change_one_percent
from fm_pipeline_tests.nexus.backup.restoring import a_new_patient, backup, give_back
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, small_clinic
from fm_pipeline_tests.support.proxies.proxy import Moment, cutting_proxy

LATER = RUN_TIME + timedelta(days=1)
ODD = ["", "\\N", "\\.", "\\", "a\tb", "a\rb\r\nc\vd", "'\"", "😀\u2028\u00a0e\u0301", "\x01\x7f", " NULL ", "\\x41"]


def ours(bench: MigrationBench) -> list[tuple[object, ...]]:
    return bench.execute("SELECT * FROM fm_pipeline.crosswalk ORDER BY 1, 2") + bench.execute(
        "SELECT * FROM fm_pipeline.retired_patient_ids ORDER BY 1"
    )


def of(report: RestoreReport, table: str) -> RestoredTable:
    (found,) = (entry for entry in report.tables if entry.table == table)
    return found


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.hard_case(20)
def test_every_row_id_null_and_empty_text_is_back_after_a_reimport(bench: MigrationBench, encrypted: bool) -> None:
    bench = bench.with_settings(backup_key=SecretStr(new_key()) if encrypted else None, nexus_only_columns="reset")
    for number, text in enumerate(ODD):
        bench.execute(
            "UPDATE patients SET notes = %s, emergency_json = to_jsonb(%s::text), archived_by = NULLIF(%s, '')"
            " WHERE id = (SELECT id FROM patients ORDER BY id OFFSET %s LIMIT 1)",
            text,
            text,
            text,
            number,
        )
        bench.execute(
            "UPDATE letters_patientletter SET subject = %s"
            " WHERE id = (SELECT id FROM letters_patientletter ORDER BY id OFFSET %s LIMIT 1)",
            text,
            number,
        )
    bench.extract_and_stage()
    before, before_ours = bench.digests(), ours(bench)
    bench.reimport()
    assert {name for name, digest in bench.digests().items() if digest != before[name]} > {
        "patients",
        "appointments",
        "notes",
        "letters_patientletter",
        "documents_document",
    }
    folder = list_backups(bench.settings)[0].folder
    report = give_back(bench, folder)
    assert report.committed
    assert report.changed_rows > 0
    assert report.notes == []
    assert bench.digests() == before
    assert ours(bench) == before_ours
    texts = [text for (text,) in bench.execute("SELECT notes FROM patients WHERE notes = ANY (%s)", ODD)]
    assert sorted(texts) == sorted(ODD)
    again = give_back(bench, folder)
    assert again.changed_rows == 0


@pytest.mark.usefixtures("staged_once")
def test_a_reimport_after_a_restore_gives_what_the_first_one_gave(bench: MigrationBench) -> None:
    bench.reimport()
    bench.refill_filemaker(change_one_percent(small_clinic(), seed=7))
    bench.extract_and_stage().reimport(LATER)
    oldest = list_backups(bench.settings)[-1]
    give_back(bench, oldest.folder)
    bench.extract_and_stage().reimport(LATER)
    assert bench.differences(change_one_percent(small_clinic(), seed=7).expected()) == []


def test_a_release_whose_times_have_no_zone_gets_its_backup_back(nexus: MigrationBench) -> None:
    """FileMaker's values are not written into such columns; what they held is."""
    nexus.execute("ALTER TABLE appointments ALTER start_time TYPE timestamp USING start_time AT TIME ZONE 'Etc/GMT-10'")
    folder, before = backup(nexus), nexus.digests()
    nexus.execute("UPDATE appointments SET start_time = start_time + interval '1 day'")
    give_back(nexus, folder)
    assert nexus.digests() == before
    with nexus.connection() as connection, connection.cursor() as cursor:
        assert list(grant_statements(cursor, nexus.settings, RoleNames()))


@pytest.mark.usefixtures("staged_once")
def test_a_dry_run_says_what_would_be_done_and_changes_nothing(bench: MigrationBench) -> None:
    bench.reimport()
    after = bench.digests()
    folder = list_backups(bench.settings)[0].folder
    dry = give_back(bench, folder, dry_run=True)
    assert not dry.committed
    assert bench.digests() == after
    assert dry.tables == give_back(bench, folder).tables
    audit = bench.execute("SELECT outcome, detail FROM fm_pipeline.audit WHERE action = 'restore' ORDER BY id")
    dry_run = "A dry run: all of it is rolled back."
    assert audit == [(end, said) for said in (dry_run, dry_run, "") for end in ("started", "done")]


@pytest.mark.hard_case(20)
def test_another_server_with_empty_tables_gets_every_row_and_what_they_refer_to(
    nexus: MigrationBench, elsewhere: MigrationBench
) -> None:
    nexus.execute(
        'INSERT INTO auth_user SELECT (jsonb_populate_record(u, \'{"id": 999, "username": "left"}\')).*'
        " FROM auth_user u LIMIT 1"
    )
    made = make_backup(nexus.settings, now=RUN_TIME)
    give_back(elsewhere, made.folder)
    digests = elsewhere.digests()
    for name, digest in made.digests.items():
        if not name.startswith("fm_pipeline."):
            assert digests[name] == digest, name
    assert digests["clinics"] == nexus.digests()["clinics"]
    # The application goes on numbering where it was.
    highest = "SELECT max(id) FROM audit_log"
    inserted = elsewhere.execute(
        "INSERT INTO audit_log (action, details, created_at) VALUES ('x', '{}', now()) RETURNING id"
    )
    assert inserted[0][0] > nexus.execute(highest)[0][0]
    # Only what is referred to: the account of somebody who left does not come to life again.
    assert elsewhere.execute("SELECT count(*) FROM auth_user WHERE username = 'left'") == [(0,)]
    assert elsewhere.execute("SELECT count(*) > 0 FROM auth_user") == [(True,)]


@pytest.mark.parametrize("confirm", ["", "nexus", "another_database 82", "{database} 1", "{database}"])
@pytest.mark.hard_case(18)
def test_a_wrong_confirmation_is_refused(nexus: MigrationBench, confirm: str) -> None:
    folder = backup(nexus)
    nexus.execute("UPDATE notes SET content = 'changed since'")
    before = nexus.digests()
    database = nexus.database_url.rpartition("/")[2]
    with pytest.raises(BackupStop, match="confirmation"):
        give_back(nexus, folder, confirm=confirm.format(database=database))
    assert nexus.digests() == before
    audit = nexus.execute("SELECT action, outcome FROM fm_pipeline.audit ORDER BY id DESC LIMIT 1")
    assert audit == [("restore", "refused")]


STRANGE = """
CREATE SCHEMA "Other Schema";
CREATE TYPE "Other Schema".mood AS ENUM ('fine', 'not so "fine"');
CREATE TABLE "Other Schema"."Odd ""Table"" 1" (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "Patient Id" uuid REFERENCES patients (id) ON DELETE CASCADE,
    doubled bigint GENERATED ALWAYS AS (amount * 2) STORED,
    amount bigint, mood "Other Schema".mood, raw json, bytes bytea, names text[], price numeric, ratio double precision,
    lasts interval, during tstzrange, place point, "select" text, dropped text
);
ALTER TABLE "Other Schema"."Odd ""Table"" 1" DROP COLUMN dropped;
CREATE TABLE keyless (patient_id uuid NOT NULL REFERENCES patients (id), remark json);
CREATE TABLE by_month (id uuid, patient_id uuid REFERENCES patients (id), month int, PRIMARY KEY (id, month))
    PARTITION BY RANGE (month);
CREATE TABLE by_month_1 PARTITION OF by_month FOR VALUES FROM (1) TO (7);
CREATE TABLE by_month_2 PARTITION OF by_month FOR VALUES FROM (7) TO (13);
INSERT INTO "Other Schema"."Odd ""Table"" 1" ("Patient Id", amount, mood, raw, bytes, names, price, ratio, lasts,
    during, place, "select")
SELECT id, 5, 'not so "fine"', '{"b":1,  "a":[""]}', '\\x00ff5c'::bytea, ARRAY['a,b', NULL, '', '\\N'], 1.00, 0.1 + 0.2,
    '1 mon 2 days 03:00:00.000001', '[2025-01-01,)', '(1,2.5)', E'\\\\N' FROM patients;
INSERT INTO keyless SELECT id, '{}' FROM patients;
INSERT INTO by_month SELECT gen_random_uuid(), id, 1 + row_number() OVER () % 12 FROM patients;
"""


def strange_rows(bench: MigrationBench) -> list[list[tuple[object, ...]]]:
    return [
        bench.execute(f"SELECT t::text FROM {table} t ORDER BY 1")  # noqa: S608
        for table in ('"Other Schema"."Odd ""Table"" 1"', "keyless", "by_month")
    ]


@pytest.mark.hard_case(10)
def test_tables_that_the_pipeline_does_not_know_are_restored_too(nexus: MigrationBench) -> None:
    """Other schemas, partitions, no primary key, generated columns, a foreign key that cascades, every odd type."""
    nexus.execute(STRANGE)
    before, digests = strange_rows(nexus), nexus.digests()
    folder = backup(nexus)
    nexus.execute(
        'UPDATE "Other Schema"."Odd ""Table"" 1" SET "Patient Id" = NULL, amount = 7, names = NULL'
        " WHERE number % 3 = 0;"
        'DELETE FROM by_month; DELETE FROM keyless; DELETE FROM "Other Schema"."Odd ""Table"" 1" WHERE number = 5;'
        "DELETE FROM sms_messages; DELETE FROM notes; DELETE FROM reminders; DELETE FROM letters_patientletter"
    )
    assert strange_rows(nexus) != before
    give_back(nexus, folder)
    assert strange_rows(nexus) == before
    assert nexus.digests() == digests
    # A new row finds a number that is free.
    nexus.execute('INSERT INTO "Other Schema"."Odd ""Table"" 1" (amount) VALUES (1)')


def test_a_cascading_key_takes_no_row_that_users_made_since(nexus: MigrationBench) -> None:
    nexus.execute(STRANGE)
    folder = backup(nexus)
    nexus.execute('INSERT INTO "Other Schema"."Odd ""Table"" 1" ("Patient Id") VALUES (%s)', a_new_patient(nexus))
    give_back(nexus, folder)
    made_since = 'SELECT "Patient Id" FROM "Other Schema"."Odd ""Table"" 1" WHERE amount IS NULL'
    assert nexus.execute(made_since) == [(None,)]


def test_two_patients_that_exchanged_their_record_numbers_get_their_own_back(nexus: MigrationBench) -> None:
    nexus.execute("UPDATE patients SET mrn = 'number of ' || id")
    before = nexus.digests()
    folder = backup(nexus)
    nexus.execute("UPDATE patients SET mrn = NULL")
    nexus.execute(
        "UPDATE patients p SET mrn = 'number of ' || other FROM (SELECT id AS it, coalesce(lead(id) OVER (ORDER BY id),"
        " (SELECT min(id::text)::uuid FROM patients)) AS other FROM patients) q WHERE it = p.id"
    )
    give_back(nexus, folder)
    assert nexus.digests() == before


TRIGGERS = {
    "rows of notes are not as in the backup": (
        "BEFORE UPDATE ON notes",
        "NEW.updated_at := now()",
    ),
    "reminders has another digest": (
        "AFTER UPDATE ON notes",
        "INSERT INTO reminders SELECT (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid()))).*"
        " FROM reminders r LIMIT 1",
    ),
    "other tables were written: django_migrations": (
        "AFTER UPDATE ON notes",
        "INSERT INTO django_migrations (app, name, applied) VALUES ('a', 'b', now())",
    ),
}


@pytest.mark.parametrize("fault", TRIGGERS)
def test_a_trigger_that_does_more_than_restore_is_found_and_rolled_back(nexus: MigrationBench, fault: str) -> None:
    folder = backup(nexus)
    nexus.execute("UPDATE notes SET content = 'changed since'")
    event, statement = TRIGGERS[fault]
    nexus.execute(
        f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement}; RETURN NEW; END $$;"
        f"CREATE TRIGGER meddle {event} FOR EACH ROW EXECUTE FUNCTION meddle()"
    )
    before = nexus.digests()
    with pytest.raises(BackupStop, match=rf"{fault}.*\(notes: meddle\)"):
        give_back(nexus, folder)
    assert nexus.digests() == before


@pytest.mark.hard_case(12)
def test_a_session_that_holds_the_tables_is_named(nexus: MigrationBench) -> None:
    folder = backup(nexus)
    nexus = nexus.with_settings(nexus_lock_timeout_seconds=0.2)
    with closing(psycopg2.connect(nexus.database_url, application_name="Nexus web")) as user, user.cursor() as cursor:
        cursor.execute("UPDATE notes SET content = content")
        with pytest.raises(LockStop, match="Nexus web"):
            give_back(nexus, folder)


@pytest.mark.hard_case(12)
def test_a_session_that_holds_only_a_row_is_named_too(nexus: MigrationBench) -> None:
    folder = backup(nexus)
    nexus.execute("UPDATE patients SET title = 'Dr'")
    nexus = nexus.with_settings(nexus_lock_timeout_seconds=0.2)
    with closing(psycopg2.connect(nexus.database_url, application_name="Nexus web")) as user, user.cursor() as cursor:
        cursor.execute("SELECT id FROM patients FOR UPDATE")
        with pytest.raises(LockStop, match=r"Nexus web.*Nexus is unchanged"):
            give_back(nexus, folder)


@pytest.mark.hard_case(13)
def test_no_restore_while_a_reimport_runs(nexus: MigrationBench) -> None:
    folder = backup(nexus)
    with connect(nexus.database_url) as reimporting:
        acquire_reimport_lock(reimporting)
        with pytest.raises(LockStop, match="Another reimport"):
            give_back(nexus, folder)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.hard_case(15)
def test_a_connection_lost_exactly_at_commit_is_decided_by_asking(nexus: MigrationBench, moment: Moment) -> None:
    original = nexus.digests()
    folder = backup(nexus)
    nexus.execute("DELETE FROM notes")
    changed = nexus.digests()
    confirm = give_back(nexus, folder, dry_run=True).confirmation
    arm = threading.Event()
    target = psycopg2.extensions.parse_dsn(nexus.database_url)

    def at_the_end(step: str, done: int, total: int | None) -> None:
        if step == "restore":
            arm.set()

    with cutting_proxy(target["host"], int(target["port"]), moment, arm=arm) as port:
        url = SecretStr(nexus.database_url.replace(f":{target['port']}/", f":{port}/"))
        settings = nexus.with_settings(nexus_database_url=url).settings
        if moment == "after":
            assert restore(settings, folder, confirm=confirm, on_progress=at_the_end).committed
        else:
            with pytest.raises(DatabaseError, match=r"lost at COMMIT.*unchanged"):
                restore(settings, folder, confirm=confirm, on_progress=at_the_end)
    assert nexus.digests() == (original if moment == "after" else changed)
