"""The grants that SECURITY.md lists are enough, and each of them is needed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr

from fm_pipeline.errors import DatabaseError
from fm_pipeline.nexus.backup import make_backup
from fm_pipeline.nexus.backup_files import BackupStop
from fm_pipeline.nexus.migrate import migrate
from fm_pipeline.nexus.restore import restore
from fm_pipeline.preflight.finding import stops
from fm_pipeline.preflight.run import preflight
from fm_pipeline_tests.bench.clinics import RUN_TIME, MigrationBench, small_clinic

SECURITY = Path(__file__).parents[2] / "SECURITY.md"


def _statements(role: str, *, block: int = 0) -> list[str]:
    blocks = re.findall(r"```sql\n(.*?)```", SECURITY.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2, "of a reimport, of a restore"
    text = re.sub(r"--.*", "", blocks[block]).replace(" LOGIN", " LOGIN PASSWORD 'weak'")
    text = re.sub(r"\bfm_pipeline_restore\b", f"{role}_restore", text)
    text = re.sub(r"(ROLE|AUTHORIZATION|TO) fm_pipeline\b", rf"\1 {role}", text)
    return [statement.strip() for statement in text.split(";") if statement.strip()]


@pytest.fixture
def least(bench: MigrationBench) -> Iterator[MigrationBench]:
    """The bench with the role of SECURITY.md in place of the owner."""
    role = f"least_{bench.database_url.rsplit('/', 1)[1]}"
    for statement in _statements(role):
        bench.execute(statement)
    yield _as(bench, role)
    bench.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.fixture
def restorer(least: MigrationBench, bench: MigrationBench) -> Iterator[MigrationBench]:
    """The bench with the role that SECURITY.md gives for a restore."""
    role = f"least_{bench.database_url.rsplit('/', 1)[1]}"
    for statement in _statements(role, block=1):
        bench.execute(statement)
    yield _as(bench, f"{role}_restore")
    bench.execute(f"DROP OWNED BY {role}_restore CASCADE; DROP ROLE {role}_restore")


def _as(bench: MigrationBench, role: str) -> MigrationBench:
    target = psycopg2.extensions.parse_dsn(bench.database_url)
    url = SecretStr(f"postgresql://{role}:weak@{target['host']}:{target['port']}/{target['dbname']}")
    return bench.with_settings(nexus_database_url=url)


def test_the_listed_grants_carry_a_reimport_from_end_to_end(least: MigrationBench) -> None:
    least.extract_and_stage().reimport()
    assert least.differences(small_clinic().expected()) == []


def test_without_one_of_them_nothing_is_changed(least: MigrationBench, bench: MigrationBench) -> None:
    role = f"least_{bench.database_url.rsplit('/', 1)[1]}"
    bench.execute(f"REVOKE UPDATE ON images_batch FROM {role}")
    before = bench.digests()
    least.extract_and_stage()
    with pytest.raises(DatabaseError, match="Grant the privilege"):
        least.plan()
    assert bench.digests() == before


def test_case_16_the_preflight_is_content_with_the_listed_grants_and_misses_each_that_is_gone(
    least: MigrationBench, bench: MigrationBench
) -> None:
    assert stops(preflight(least.settings)) == []
    bench.execute(f"REVOKE UPDATE ON images_batch FROM least_{bench.database_url.rsplit('/', 1)[1]}")
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


def test_the_listed_grants_of_a_restore_bring_back_every_table_and_those_of_a_reimport_are_refused_with_the_rest(
    least: MigrationBench, restorer: MigrationBench, bench: MigrationBench
) -> None:
    migrate(least.database_url)
    before = bench.digests()
    folder = make_backup(least.settings, now=RUN_TIME).folder
    for table in ("notes", "reminders", "core_bookmark", "xero_invoice_items"):
        bench.execute(f"DELETE FROM {table} WHERE id::text = (SELECT min(id::text) FROM {table})")  # noqa: S608
    bench.execute("UPDATE images_batch SET name = 'x'; UPDATE patients SET last_name = 'x'")
    changed = bench.digests()
    with pytest.raises(BackupStop, match="may not write everything that a restore has to") as caught:
        restore(least.settings, folder, confirm="", dry_run=True)
    assert bench.digests() == changed
    shown = restore(restorer.settings, folder, confirm="", dry_run=True)
    assert restore(restorer.settings, folder, confirm=shown.confirmation).committed
    assert bench.digests() == before
    for statement in caught.value.remedy.split("tables: ")[1].removesuffix(";").split("; "):
        bench.execute(statement)
    assert restore(least.settings, folder, confirm=shown.confirmation).committed, (
        "the statements that it names are enough"
    )
