"""The grants that SECURITY.md lists are enough, and each of them is needed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr

from fm_pipeline.errors import DatabaseError
from fm_pipeline.preflight.finding import stops
from fm_pipeline.preflight.run import preflight
from fm_pipeline_tests.bench.clinics import MigrationBench, small_clinic

SECURITY = Path(__file__).parents[2] / "SECURITY.md"


def _statements(role: str) -> list[str]:
    (block,) = re.findall(r"```sql\n(.*?)```", SECURITY.read_text("utf-8"), re.DOTALL)
    text = re.sub(r"--.*", "", block).replace("ROLE fm_pipeline LOGIN", f"ROLE {role} LOGIN PASSWORD 'weak'")
    text = text.replace("AUTHORIZATION fm_pipeline", f"AUTHORIZATION {role}").replace("TO fm_pipeline", f"TO {role}")
    return [statement.strip() for statement in text.split(";") if statement.strip()]


@pytest.fixture
def least(bench: MigrationBench) -> Iterator[MigrationBench]:
    """The bench with the role of SECURITY.md in place of the owner."""
    role = f"least_{bench.database_url.rsplit('/', 1)[1]}"
    for statement in _statements(role):
        bench.execute(statement)
    target = psycopg2.extensions.parse_dsn(bench.database_url)
    url = SecretStr(f"postgresql://{role}:weak@{target['host']}:{target['port']}/{target['dbname']}")
    yield bench.with_settings(nexus_database_url=url)
    bench.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


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
