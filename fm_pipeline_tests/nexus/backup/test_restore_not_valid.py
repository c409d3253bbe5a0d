"""Constraints that are NOT VALID: old rows break them, and PostgreSQL refuses to write such rows again."""

# ruff: noqa: S608  # the names of tables are those of this file

from __future__ import annotations

from collections.abc import Iterator

import psycopg2.extensions
import pytest
from pydantic import SecretStr

from fm_pipeline.errors import CatalogueStop, Stop
from fm_pipeline.nexus.backup.backup import list_backups, make_backup
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline_tests.nexus.backup.restoring import backup, give_back
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, Origin

CONSTRAINTS = (
    "SELECT conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') FROM pg_constraint"
    " WHERE conrelid = 'letters_patientletter'::regclass ORDER BY 1"
)
BROKEN = (
    "ALTER TABLE letters_patientletter ADD clinic_id uuid, ADD other_clinic_id uuid;"
    "UPDATE letters_patientletter SET subject = '', clinic_id = gen_random_uuid(), other_clinic_id = gen_random_uuid()"
    " WHERE id::text < '8';"
    "ALTER TABLE letters_patientletter ADD CONSTRAINT strict CHECK (subject <> '') NOT VALID,"
    " ADD CONSTRAINT strict_key FOREIGN KEY (clinic_id) REFERENCES clinics NOT VALID,"
    " ADD CONSTRAINT strict_key_later FOREIGN KEY (other_clinic_id) REFERENCES clinics DEFERRABLE NOT VALID;"
    "COMMENT ON CONSTRAINT strict ON letters_patientletter IS 'the form asks for it'"
)
NOT_NULL = (  # since PostgreSQL 18
    "ALTER TABLE letters_patientletter ADD sent_by text;"
    "ALTER TABLE letters_patientletter ADD CONSTRAINT strict_null NOT NULL sent_by NOT VALID"
)


def knows_not_null(bench: MigrationBench) -> bool:
    return bool(bench.execute("SHOW server_version_num")[0][0] >= "180000")


@pytest.fixture
def broken(migrated_once: Origin, bench: MigrationBench) -> MigrationBench:
    """A Nexus with old rows that break a constraint of each kind."""
    bench.execute(BROKEN + ";" + (NOT_NULL if knows_not_null(bench) else ""))
    return bench


@pytest.fixture
def narrow(broken: MigrationBench) -> Iterator[MigrationBench]:
    """The same for a role that owns no table."""
    role = f"narrow_{broken.database_url.rsplit('/', 1)[1]}"
    broken.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'weak'; GRANT ALL ON SCHEMA public, fm_pipeline TO {role};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA public, fm_pipeline TO {role};"
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public, fm_pipeline TO {role}"
    )
    target = psycopg2.extensions.parse_dsn(broken.database_url)
    url = f"postgresql://{role}:weak@{target['host']}:{target['port']}/{target['dbname']}"
    yield broken.with_settings(nexus_database_url=SecretStr(url))
    broken.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_rows_that_break_a_constraint_come_back_and_the_constraint_is_as_before(broken: MigrationBench) -> None:
    """The reimport deletes all letters. The restore says which constraint it has taken away for a moment."""
    broken.extract_and_stage()
    before, constraints = broken.digests(), broken.execute(CONSTRAINTS)
    planned = broken.plan().report.as_markdown()
    assert "of letters_patientletter break strict, which is NOT VALID" in planned
    broken.reimport()
    assert broken.digests()["letters_patientletter"].rows == 0
    folder = list_backups(broken.settings)[0].folder
    report = give_back(broken, folder)
    assert broken.digests() == before
    assert broken.execute(CONSTRAINTS) == constraints
    names = ["strict", "strict_key", "strict_key_later", *(["strict_null"] if knows_not_null(broken) else [])]
    said = [f"The constraint {name} of letters_patientletter (" for name in names]
    assert [
        note.startswith(words) and "NOT VALID as before" in note for note, words in zip(report.notes, said, strict=True)
    ]
    assert give_back(broken, folder).notes == [], "rows that are there need not be written"


def test_a_role_that_does_not_own_the_table_is_stopped_before_anything_is_deleted(
    narrow: MigrationBench, broken: MigrationBench
) -> None:
    before = broken.digests()
    with pytest.raises(BackupStop, match=r"rows? of letters_patientletter breaks? strict.*no restore with this role"):
        make_backup(narrow.settings, now=RUN_TIME)
    assert list_backups(broken.settings) == []
    narrow.extract_and_stage()
    with pytest.raises(CatalogueStop, match=r"rows? of letters_patientletter breaks? strict"):
        narrow.plan()
    assert broken.digests() == before


def test_a_restore_by_such_a_role_is_refused_and_the_owners_is_not(
    narrow: MigrationBench, broken: MigrationBench
) -> None:
    folder, before = backup(broken), broken.digests()
    broken.execute("DELETE FROM letters_patientletter")
    with pytest.raises(BackupStop, match=r"strict of letters_patientletter .* does not own these tables"):
        restore(narrow.settings, folder, confirm="", dry_run=True)
    give_back(broken, folder)
    assert broken.digests() == before


def test_a_row_that_cannot_lose_its_reference_because_of_such_a_constraint_is_reported(bench: MigrationBench) -> None:
    """PostgreSQL refuses every change of a row that breaks a constraint, whatever is changed."""
    strict = "NOT NULL read_by" if knows_not_null(bench) else "CHECK (read_by IS NOT NULL)"
    bench.execute(
        "CREATE TABLE messages_in (id uuid PRIMARY KEY, patient_id uuid REFERENCES patients, read_by text);"
        "INSERT INTO messages_in SELECT id, id FROM patients;"
        f"ALTER TABLE messages_in ADD CONSTRAINT strict {strict} NOT VALID"
    )
    bench.extract_and_stage()
    before = bench.digests()
    with pytest.raises(
        Stop, match=r"messages_in\.patient_id .* the NOT VALID constraint strict of messages_in"
    ) as caught:
        bench.plan()
    assert "partition" not in str(caught.value)
    assert bench.digests() == before
