"""Restores into another server, whose application has numbered its content types and accounts otherwise."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from fm_pipeline.db.connection import connect
from fm_pipeline.errors import SettingsError
from fm_pipeline.nexus.backup.backup import ignore_progress, make_backup
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.backup.manifest import read_manifest, write_manifest
from fm_pipeline.nexus.backup.rows import write_table_file
from fm_pipeline.nexus.backup.verify import verify_backup
from fm_pipeline_tests.nexus.backup.restoring import backup, give_back, renumber_accounts
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench

MEANT = {
    table: f"SELECT t.id, t.object_id, c.app_label, c.model FROM {table} t"  # noqa: S608
    " LEFT JOIN django_content_type c ON c.id = t.content_type_id ORDER BY 1"
    for table in ("documents_document", "images_batch", "core_bookmark")
}
PASSWORDS = "SELECT username, password FROM auth_user WHERE id IN (SELECT user_id FROM core_bookmark) ORDER BY 1"
USERS = "SELECT b.id, u.username FROM core_bookmark b JOIN auth_user u ON u.id = b.user_id ORDER BY 1"


def test_numbers_that_mean_something_else_on_the_other_server_are_translated(
    nexus: MigrationBench, elsewhere: MigrationBench
) -> None:
    """Every generic key means the same model, every account the same user, and what is missing gets a free number."""
    models = nexus.execute("SELECT id, app_label, model FROM django_content_type ORDER BY id")
    for number, app_label, model in models[1:]:  # one the other server does not have
        elsewhere.execute("INSERT INTO django_content_type VALUES (%s, %s, %s)", number + 1, app_label, model)
    taken = models[0][0]
    elsewhere.execute(
        "INSERT INTO django_content_type VALUES (%s, 'billing', 'payer') ON CONFLICT DO NOTHING",
        taken,
    )
    ((user, username),) = nexus.execute(
        "SELECT u.id, u.username FROM core_bookmark b JOIN auth_user u ON u.id = b.user_id ORDER BY 1 LIMIT 1"
    )
    elsewhere.execute(
        "INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, is_staff,"
        " is_active, date_joined) VALUES (%s, '', false, 'somebody else', '', '', '', false, true, now()), (%s + 1000,"
        " '', false, %s, '', '', '', false, true, now())",
        *(user, user, username),
    )
    folder = backup(nexus)
    report = give_back(elsewhere, folder)
    for table, statement in MEANT.items():
        assert elsewhere.execute(statement) == nexus.execute(statement), table
    assert elsewhere.execute(USERS) == nexus.execute(USERS)
    assert elsewhere.execute("SELECT model FROM django_content_type WHERE id = %s", taken) == [("payer",)]
    assert elsewhere.execute("SELECT username FROM auth_user WHERE id = %s", user) == [("somebody else",)]
    assert any("of django_content_type had other numbers" in note for note in report.notes)
    assert give_back(elsewhere, folder).changed_rows == 0


def test_every_sequence_that_gives_a_column_its_numbers_goes_on_behind_them(
    nexus: MigrationBench, elsewhere: MigrationBench
) -> None:
    numbers = (
        "CREATE SEQUENCE numbers; ALTER TABLE xero_invoices ADD serial int DEFAULT nextval('numbers'),"
        " ADD code text DEFAULT 'C' || nextval('numbers'), ADD fm_action int"  # a name of its own
    )
    for each in (nexus, elsewhere):
        each.execute(numbers)
    report = give_back(elsewhere, backup(nexus))
    assert elsewhere.execute("SELECT max(serial) < nextval('numbers') FROM xero_invoices") == [(True,)]
    assert "See that the next value of public.numbers is not used in xero_invoices.code." in report.notes


def test_a_backup_holds_no_password_and_an_account_that_is_missing_comes_back_without_one(
    nexus: MigrationBench, elsewhere: MigrationBench
) -> None:
    folder = backup(nexus)
    files = {path.name: gzip.decompress(path.read_bytes()).decode() for path in folder.glob("*.gz")}
    (accounts,) = (text for name, text in files.items() if name.endswith("-auth_user.copy.gz"))
    assert all(username in accounts for username, _ in nexus.execute(PASSWORDS))
    assert [name for name, text in files.items() if "pbkdf2" in text] == []
    report = give_back(elsewhere, folder)
    back = elsewhere.execute("SELECT username, password FROM auth_user")
    assert {password[0] for _, password in back} == {"!"}  # so Django marks an account that nobody can log in to
    assert f"{len(back)} accounts of auth_user came back without a password" in " ".join(report.notes)
    assert elsewhere.execute(USERS) == nexus.execute(USERS)


def test_a_backup_holds_no_secret_of_a_table_that_has_another_name_than_django_gives_it(
    nexus: MigrationBench, elsewhere: MigrationBench
) -> None:
    """An application's own accounts, and keys in tables to which patients refer; a restore still adds the rows."""
    for each in (nexus, elsewhere):
        each.execute(
            "ALTER TABLE auth_user RENAME TO accounts_user; ALTER TABLE clinics ADD sms_api_key varchar(20),"
            " ADD webhook_secret varchar(40) NOT NULL DEFAULT gen_random_uuid(), ADD xero_token bytea,"
            " ADD password_hint text; ALTER TABLE clinics ALTER webhook_secret DROP DEFAULT,"
            " ADD UNIQUE (webhook_secret)"
        )
    nexus.execute(
        "UPDATE clinics SET sms_api_key = 'canary-key', webhook_secret = 'canary-secret-' || name,"
        " xero_token = 'canary-token', password_hint = 'a hint'"
    )
    folder = backup(nexus)
    texts = [gzip.decompress(path.read_bytes()).decode() for path in folder.glob("*.gz")]
    for secret in ("pbkdf2", "canary", b"canary-token".hex()):
        assert not any(secret in text for text in texts), secret
    notes = " ".join(give_back(elsewhere, folder).notes)
    assert "of accounts_user came back without a password" in notes
    assert "of clinics came back without sms_api_key, webhook_secret, xero_token, which no backup holds" in notes
    assert elsewhere.execute("SELECT DISTINCT left(password, 1) FROM accounts_user") == [("!",)]
    clinics = "SELECT id, name, password_hint FROM clinics ORDER BY id"
    assert elsewhere.execute(clinics) == nexus.execute(clinics)
    before = nexus.digests()
    assert give_back(nexus, folder).changed_rows == 0
    assert nexus.digests() == before


def test_what_a_clinician_has_learned_is_no_secret_and_comes_back(
    nexus: MigrationBench, elsewhere: MigrationBench
) -> None:
    for each in (nexus, elsewhere):
        each.execute("ALTER TABLE clinicians ADD credentials text, ADD sms_credentials text")
    nexus.execute("UPDATE clinicians SET credentials = 'B.Pod', sms_credentials = 'canary'")
    report = give_back(elsewhere, backup(nexus))
    clinicians = "SELECT id, credential, credentials FROM clinicians WHERE id = ANY(%s::uuid[]) ORDER BY id"
    ids = [row[0] for row in elsewhere.execute("SELECT id::text FROM clinicians")]
    assert elsewhere.execute(clinicians, ids) == nexus.execute(clinicians, ids) != []
    assert [note for note in report.notes if "of clinicians came back without sms_credentials, which" in note]


def test_a_backup_says_which_rows_no_restore_could_add_because_of_a_secret(
    nexus: MigrationBench, elsewhere: MigrationBench
) -> None:
    for each in (nexus, elsewhere):
        each.execute(
            "ALTER TABLE clinics ADD webhook_token bytea NOT NULL UNIQUE DEFAULT uuid_send(gen_random_uuid()),"
            " ADD sms_api_key text NOT NULL DEFAULT 'ak_' || gen_random_uuid(),"
            " ADD CONSTRAINT form CHECK (sms_api_key ^@ 'ak_'), ADD CONSTRAINT given CHECK (sms_api_key <> name);"
            "ALTER TABLE clinics ALTER webhook_token DROP DEFAULT, ALTER sms_api_key DROP DEFAULT"
        )
    made = make_backup(nexus.settings, now=RUN_TIME)
    (sentence,) = made.untested
    assert re.search(
        r"Rows of clinics that are deleted: .* holds webhook_token, sms_api_key, and form refuses", sentence
    )
    with pytest.raises(BackupStop, match="form of clinics refuses"):
        give_back(elsewhere, made.folder)
    for each in (nexus, elsewhere):
        each.execute("ALTER TABLE clinics DROP CONSTRAINT form, ADD UNIQUE (sms_api_key)")
    made = make_backup(nexus.settings, now=RUN_TIME)
    assert made.untested == ()
    give_back(elsewhere, made.folder)
    nexus.execute("ALTER TABLE clinics ALTER sms_api_key SET DEFAULT ''")
    (sentence,) = make_backup(nexus.settings, now=RUN_TIME).untested
    assert "clinics_sms_api_key_key refuses" in sentence


def test_a_backup_with_passwords_which_an_earlier_release_has_made_is_verified_and_restored(
    nexus: MigrationBench, elsewhere: MigrationBench
) -> None:
    folder = backup(nexus)
    _add_passwords(nexus, folder)
    verify_backup(nexus.settings, folder, None, ignore_progress)
    assert not [note for note in give_back(elsewhere, folder).notes if "password" in note]
    assert elsewhere.execute(PASSWORDS) == nexus.execute(PASSWORDS)


def _add_passwords(bench: MigrationBench, folder: Path) -> None:
    manifest = read_manifest(folder, None)
    for written in (*folder.glob("manifest*"), *folder.glob("*-auth_user.copy.gz")):
        written.unlink()
    with connect(bench.database_url) as connection, connection.cursor() as cursor:
        tables = [
            replace(write_table_file(cursor, folder / each.file, each.table, "kept", None), role=each.role)
            if each.table.name == "auth_user"
            else each
            for each in manifest.tables
        ]
    write_manifest(folder, replace(manifest, tables=tuple(tables)), None)


def test_an_account_that_was_renamed_since_is_still_the_same_account(nexus: MigrationBench) -> None:
    folder, before = backup(nexus), nexus.execute("SELECT user_id FROM core_bookmark ORDER BY id")
    nexus.execute("UPDATE auth_user SET username = 'renamed ' || id; DELETE FROM core_bookmark")
    accounts = nexus.digests()["auth_user"]
    give_back(nexus, folder)
    assert nexus.execute("SELECT user_id FROM core_bookmark ORDER BY id") == before
    assert nexus.digests()["auth_user"] == accounts


def test_content_types_that_exchanged_their_numbers_are_matched_by_name(nexus: MigrationBench) -> None:
    meant = {table: nexus.execute(statement) for table, statement in MEANT.items()}
    folder = backup(nexus)
    ((one, other),) = nexus.execute(
        "SELECT a.id, b.id FROM django_content_type a, django_content_type b WHERE a.model = 'patient'"
        " AND b.model <> 'patient' LIMIT 1"
    )
    exchange = "UPDATE django_content_type SET app_label = o.app_label, model = o.model FROM other o WHERE o.id = %s"
    nexus.execute(
        "CREATE TEMP TABLE other AS SELECT * FROM django_content_type;"  # noqa: S608
        f"UPDATE django_content_type SET model = 'moment' WHERE id = %s; {exchange} AND django_content_type.id = %s;"
        f"{exchange} AND django_content_type.id = %s;"
        "DELETE FROM core_bookmark; DELETE FROM documents_document; DELETE FROM images_image; DELETE FROM images_batch",
        *(one, one, other, other, one),
    )
    give_back(nexus, folder)
    for table, statement in MEANT.items():
        assert nexus.execute(statement) == meant[table], table


def test_an_account_that_was_deleted_and_made_again_is_the_one_of_its_name(nexus: MigrationBench) -> None:
    folder, before = backup(nexus), nexus.execute(USERS)
    renumber_accounts(nexus)
    give_back(nexus, folder)
    assert nexus.execute(USERS) == before


def test_a_role_for_restores_in_another_database_is_refused_before_anything_is_read(
    nexus: MigrationBench, elsewhere: MigrationBench
) -> None:
    folder, before = backup(nexus), elsewhere.digests()
    mixed = nexus.with_settings(restore_database_url=SecretStr(elsewhere.database_url))
    with pytest.raises(SettingsError, match="leads to another database than NEXUS_DATABASE_URL"):
        give_back(mixed, folder)
    assert elsewhere.digests() == before
