"""The preflight says whether a restore would be refused, before somebody needs it."""

from __future__ import annotations

from pydantic import SecretStr
from sqlalchemy import make_url

from fm_pipeline.preflight.finding import Finding
from fm_pipeline.preflight.preflight import preflight
from fm_pipeline_tests.support.clinics import MigrationBench


def finding_about(bench: MigrationBench, subject: str) -> Finding:
    (finding,) = (each for each in preflight(bench.settings) if each.subject == subject)
    return finding


def test_a_restore_that_would_be_refused_is_found_before_it_is_needed(
    role: MigrationBench, bench: MigrationBench
) -> None:
    bench.execute("REVOKE INSERT ON documents_document FROM preflight_role")
    warned = finding_about(role, "restore")
    assert warned.level == "warning"
    assert warned.found == "a restore would be refused: the role lacks INSERT on documents_document"
    owner = role.with_settings(restore_database_url=SecretStr(bench.database_url))
    assert finding_about(owner, "restore").level == "good"


def test_without_a_role_for_restores_the_check_needs_no_other_connection(
    role: MigrationBench, bench: MigrationBench
) -> None:
    bench.execute("ALTER ROLE preflight_role CONNECTION LIMIT 1")
    (finding,) = (each for each in preflight(role.settings, files=False) if each.subject == "restore")
    assert (finding.level, finding.found) == ("good", "the role may write every table of a backup")


def test_a_role_for_restores_that_leads_to_another_database_is_found(bench: MigrationBench) -> None:
    elsewhere = make_url(bench.database_url).set(database="postgres").render_as_string(hide_password=False)
    wrong = finding_about(bench.with_settings(restore_database_url=SecretStr(elsewhere)), "restore")
    assert (wrong.level, wrong.found) == (
        "warning",
        "RESTORE_DATABASE_URL leads to another database than NEXUS_DATABASE_URL.",
    )
