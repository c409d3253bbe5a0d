"""The statements that `fm-pipeline grants` prints are enough for every writer, in every release of Nexus."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import psycopg2
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from fm_pipeline.cli.main import main
from fm_pipeline.console.database import prepare_schema
from fm_pipeline.db.audit import record
from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.configuration.configuration import configure
from fm_pipeline.errors import DatabaseError, SettingsError
from fm_pipeline.images.nexus.batch_and_image_values import NewImage
from fm_pipeline.images.nexus.writer import writing_images
from fm_pipeline.nexus.backup.backup import list_backups, make_backup
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline.preflight.finding import stops
from fm_pipeline.preflight.preflight import preflight
from fm_pipeline_tests.nexus.backup.restoring import give_back, renumber_accounts
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, small_clinic


def _role(bench: MigrationBench) -> str:
    return f"least_{bench.database_url.rsplit('/', 1)[1]}"


def _printed(bench: MigrationBench, **environment: str) -> str:
    """What the command prints."""
    role = _role(bench)
    names = [f"--{each}-role={role}_{each}" for each in ("restore", "console", "audit")]
    command = ["grants", "--role", role, *names]
    return CliRunner().invoke(main, command, env=bench.environment() | environment, catch_exceptions=False).stdout


@contextmanager
def _roles(bench: MigrationBench, **environment: str) -> Iterator[tuple[MigrationBench, MigrationBench]]:
    """The bench with the role for reimports, and with the one for restores, as the printed statements make them."""
    role = _role(bench)
    bench.execute(_printed(bench, **environment))
    try:
        for each in (role, f"{role}_restore", f"{role}_console"):
            bench.execute(f"ALTER ROLE {each} PASSWORD 'weak'")
        yield _as(bench, role), _as(bench, f"{role}_restore")
    finally:
        ours = f"{role}_restore, {role}_console, {role}_audit, {role}"
        bench.execute(f"DROP OWNED BY {ours} CASCADE; DROP ROLE {ours}")


@pytest.fixture
def both(bench: MigrationBench) -> Iterator[tuple[MigrationBench, MigrationBench]]:
    """Both roles."""
    with _roles(bench) as roles:
        yield roles


@pytest.fixture
def least(both: tuple[MigrationBench, MigrationBench]) -> MigrationBench:
    """The bench with the role for reimports in place of the owner."""
    return both[0]


@pytest.fixture
def restorer(both: tuple[MigrationBench, MigrationBench]) -> MigrationBench:
    """The bench with the role for restores."""
    return both[1]


def _as(bench: MigrationBench, role: str) -> MigrationBench:
    target = psycopg2.extensions.parse_dsn(bench.database_url)
    url = SecretStr(f"postgresql://{role}:weak@{target['host']}:{target['port']}/{target['dbname']}")
    return bench.with_settings(nexus_database_url=url)


def test_the_printed_grants_carry_a_reimport_from_end_to_end(least: MigrationBench, bench: MigrationBench) -> None:
    least.extract_and_stage().reimport()
    assert bench.differences(small_clinic().expected()) == []


def test_the_printed_grants_carry_images_and_the_configuration_of_dicom(least: MigrationBench) -> None:
    migrate(least.database_url)
    ((patient,),) = least.execute("SELECT id FROM patients ORDER BY id LIMIT 1")
    image = NewImage(
        patient, str(uuid.uuid4()), date(2025, 1, 2), "patients/x/1.jpg", "1.jpg", 7, "image/jpeg", recid=1
    )
    with writing_images(least.settings) as writer:
        written = writer.write([image], RUN_TIME)
    assert (len(written.inserted), len(written.batches_created)) == (1, 1)
    assert configure(least.settings, {"quiet_period": 90}, actor="test", now=RUN_TIME)


RELEASE = """
DROP TABLE core_bookmark, audit_log, reminders, xero_invoice_items, xero_invoices;
CREATE SCHEMA "Tenant";
CREATE TABLE "Tenant"."All visits" (id uuid PRIMARY KEY, patient_id uuid REFERENCES patients);
INSERT INTO "Tenant"."All visits" SELECT id, id FROM patients;
CREATE TABLE events (id serial PRIMARY KEY, what text);
CREATE TABLE mails (id integer PRIMARY KEY, about varchar(36));
INSERT INTO mails SELECT row_number() OVER (), id FROM patients;
CREATE FUNCTION record() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO events (what) VALUES (TG_OP); RETURN NULL; END $$;
CREATE TRIGGER record AFTER UPDATE ON patients FOR EACH ROW EXECUTE FUNCTION record();
"""


def test_a_release_with_other_tables_gets_other_statements(bench: MigrationBench) -> None:
    """And our schema was made by somebody with more rights."""
    migrate(bench.database_url)
    bench.execute(RELEASE)
    with _roles(bench, NEXUS_TRIGGER_TABLES="events") as roles:
        settings = {"nexus_trigger_tables": "events", "nexus_soft_references": "empty"}
        least, restorer = (role.with_settings(**settings) for role in roles)
        before = bench.digests()
        least.extract_and_stage().reimport()
        assert bench.execute("SELECT count(*) > 0 FROM events") == [(True,)]
        assert bench.execute('SELECT count(*) > 0 FROM "Tenant"."All visits" WHERE patient_id IS NULL') == [(True,)]
        assert bench.execute("SELECT count(*) > 0 FROM mails WHERE about IS NULL") == [(True,)]
        give_back(restorer, list_backups(bench.settings)[0].folder)
        assert {name: digest for name, digest in bench.digests().items() if name != "events"} == {
            name: digest for name, digest in before.items() if name != "events"
        }


def test_statements_that_were_run_can_be_run_again(bench: MigrationBench, least: MigrationBench) -> None:
    migrate(least.database_url)
    bench.execute(_printed(bench))
    assert stops(preflight(least.settings)) == []


def test_without_one_of_them_nothing_is_changed(least: MigrationBench, bench: MigrationBench) -> None:
    bench.execute(f"REVOKE UPDATE ON images_batch FROM {_role(bench)}")
    before = bench.digests()
    least.extract_and_stage()
    with pytest.raises(DatabaseError, match="Grant the privilege"):
        least.plan()
    assert bench.digests() == before


def test_case_16_the_preflight_is_content_with_the_printed_grants_and_misses_each_that_is_gone(
    least: MigrationBench, bench: MigrationBench
) -> None:
    assert stops(preflight(least.settings)) == []
    bench.execute(f"REVOKE UPDATE ON images_batch FROM {_role(bench)}")
    (missing,) = stops(preflight(least.settings))
    assert (missing.rule, missing.subject) == ("nexus_grant_missing", "table images_batch")


def test_rows_that_a_policy_hides_from_the_role_are_an_error_and_not_missing(
    least: MigrationBench, bench: MigrationBench
) -> None:
    bench.execute(
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY; CREATE POLICY write ON notes USING (true);"
        "CREATE POLICY hide ON notes AS RESTRICTIVE FOR SELECT USING (note_type = 'clinical_notes')"
    )
    with pytest.raises(DatabaseError, match="row security") as caught:
        least.extract_and_stage().plan()
    assert caught.value.sqlstate == "42501"
    assert "table notes)" in caught.value.what


def test_the_printed_grants_of_a_restore_bring_back_every_table_and_those_of_a_reimport_are_refused_with_the_rest(
    least: MigrationBench, restorer: MigrationBench, bench: MigrationBench
) -> None:
    migrate(least.database_url)
    before = bench.digests()
    folder = make_backup(least.settings, now=RUN_TIME).folder
    for table in ("notes", "reminders", "core_bookmark", "xero_invoice_items"):
        bench.execute(f"DELETE FROM {table} WHERE id::text = (SELECT min(id::text) FROM {table})")  # noqa: S608
    bench.execute("UPDATE images_batch SET name = 'x'; UPDATE patients SET last_name = 'x'")
    bench.execute(
        "CREATE TEMP TABLE old AS SELECT id, number FROM xero_invoices ORDER BY id LIMIT 2;"
        "UPDATE xero_invoices i SET number = 'a moment ' || i.id FROM old WHERE old.id = i.id;"
        "UPDATE xero_invoices i SET number = o.number FROM old o WHERE o.id <> i.id AND i.number LIKE 'a moment%'"
    )
    changed = bench.digests()
    with pytest.raises(BackupStop, match="may not write everything that a restore has to") as caught:
        restore(least.settings, folder, confirm="", dry_run=True)
    assert bench.digests() == changed
    shown = restore(restorer.settings, folder, confirm="", dry_run=True)
    assert restore(restorer.settings, folder, confirm=shown.confirmation).committed
    assert bench.digests() == before
    for statement in caught.value.remedy.split("privileges: ")[1].removesuffix(";").split("; "):
        bench.execute(statement)
    assert restore(least.settings, folder, confirm=shown.confirmation).committed, (
        "the statements that it names are enough"
    )


def test_no_login_changes_or_drops_a_row_of_the_audit_trail(least: MigrationBench, bench: MigrationBench) -> None:
    migrate(least.database_url)
    assert "audit trail" in [each.subject for each in preflight(least.settings) if each.level == "warning"]
    bench.execute(_printed(bench))  # once more, now that the table is there
    console = _as(bench, f"{_role(bench)}_console")
    for login in (least, console):
        record(login.database_url, actor="a", action="plan", outcome="done")
        for statement in (
            "UPDATE fm_pipeline.audit SET actor = 'b'",
            "DELETE FROM fm_pipeline.audit",
            "TRUNCATE fm_pipeline.audit",
            "DROP TABLE fm_pipeline.audit",
            "ALTER TABLE fm_pipeline.audit DISABLE TRIGGER ALL",
            "DROP FUNCTION fm_pipeline.refuse_change CASCADE",
            "DROP SCHEMA fm_pipeline CASCADE",
            "DELETE FROM fm_pipeline.run_requests",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                login.execute(statement)
    assert bench.execute("SELECT actor FROM fm_pipeline.audit") == [("a",), ("a",)]
    assert "audit trail" not in [each.subject for each in preflight(least.settings) if each.level == "warning"]


def test_the_role_of_the_console_reads_accounts_and_nothing_else_of_nexus(
    both: tuple[MigrationBench, MigrationBench], bench: MigrationBench
) -> None:
    assert both
    console = _as(bench, f"{_role(bench)}_console")
    assert console.execute("SELECT username, password FROM auth_user")
    for statement in (
        "SELECT last_name FROM patients",
        "SELECT email FROM auth_user",
        "UPDATE auth_user SET is_staff = true",
        "SELECT * FROM fm_pipeline.staged_builds",
        "CREATE TABLE public.x ()",
    ):
        with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.UndefinedTable)):
            console.execute(statement)


def test_only_the_role_of_the_console_reads_password_hashes(
    both: tuple[MigrationBench, MigrationBench], bench: MigrationBench
) -> None:
    """Also after the statements of an earlier release, which granted the whole table."""
    bench.execute(f"GRANT SELECT ON auth_user TO {_role(bench)}")
    bench.execute(_printed(bench))
    for role in both:
        assert role.execute("SELECT username, email FROM auth_user")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            role.execute("SELECT password FROM auth_user")
        with pytest.raises(SettingsError, match="may not read the password hashes"):
            prepare_schema(role.settings)  # of a console without a role of its own
    prepare_schema(_as(bench, f"{_role(bench)}_console").settings)
    assert stops(preflight(both[0].settings)) == []
    bench.execute(f"REVOKE SELECT (email) ON auth_user FROM {_role(bench)}")  # noqa: S608  # a role of this test
    (missing,) = stops(preflight(both[0].settings))
    assert missing.subject == "table auth_user"
    assert "GRANT SELECT (id, last_login, is_superuser, username," in missing.remedy


def test_a_console_without_the_accounts_that_it_knows_says_so_when_it_starts(
    bench: MigrationBench, caplog: pytest.LogCaptureFixture
) -> None:
    prepare_schema(bench.settings)
    assert not caplog.records
    bench.execute("ALTER TABLE auth_user RENAME TO accounts_user")
    prepare_schema(bench.settings)
    assert "Nexus has no table auth_user." in caplog.text


def test_a_password_in_a_table_of_accounts_of_another_name_is_not_read_and_the_other_columns_are_searched(
    both: tuple[MigrationBench, MigrationBench], bench: MigrationBench
) -> None:
    bench.execute(
        "ALTER TABLE auth_user RENAME TO accounts_user;"
        " ALTER TABLE accounts_user ADD about uuid, ADD sso_credentials jsonb, ADD profile jsonb DEFAULT '{}'"
    )
    bench.execute(_printed(bench))
    for role in both:
        for secret in ("password", "sso_credentials"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                role.execute(f"SELECT {secret} FROM accounts_user")  # noqa: S608  # a column of this test
    migrate(both[0].database_url)
    make_backup(both[0].settings, now=RUN_TIME)
    bench.execute("UPDATE accounts_user SET about = (SELECT min(id::text)::uuid FROM patients)")
    found = preflight(both[0].settings)
    assert stops(found) == []
    assert any("accounts_user.about" in f"{each.subject} {each.found}" for each in found)


def test_the_role_for_restores_adds_no_account_that_is_gone(
    least: MigrationBench, restorer: MigrationBench, bench: MigrationBench
) -> None:
    migrate(least.database_url)
    folder = make_backup(least.settings, now=RUN_TIME).folder
    renumber_accounts(bench)
    bench.execute("UPDATE auth_user SET username = 'somebody else ' || id")
    before = bench.digests()
    with pytest.raises(BackupStop, match=r"\d of auth_user. The role may not add them"):
        restore(restorer.settings, folder, confirm="", dry_run=True)
    assert bench.digests() == before
    assert "without a password" in " ".join(give_back(bench, folder).notes)
    back = bench.execute("SELECT DISTINCT left(password, 1) FROM auth_user WHERE username NOT LIKE 'somebody else %'")
    assert back == [("!",)]
