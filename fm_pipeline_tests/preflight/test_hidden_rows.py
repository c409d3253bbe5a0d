"""Rows that the role may not read: the check names their table, because the pipeline would take them for missing."""

from __future__ import annotations

import pytest

from fm_pipeline_tests.preflight.test_preflight import found, only
from fm_pipeline_tests.support.clinics import MigrationBench


def test_a_reference_without_a_key_whose_rows_the_role_may_not_read_is_said(
    role: MigrationBench, bench: MigrationBench
) -> None:
    bench.execute(
        "CREATE TABLE visits (id serial PRIMARY KEY, patient_id uuid); INSERT INTO visits (patient_id) SELECT id FROM"
        " patients; CREATE TABLE visits_of_others (LIKE visits); GRANT ALL ON visits TO preflight_role;"
        "ALTER TABLE visits ENABLE ROW LEVEL SECURITY"
    )
    broken = found(role)
    said = {finding.subject: finding.found for finding in broken.pop("nexus_soft_reference")}
    assert set(said) == {"visits.patient_id", "visits_of_others.patient_id"}
    assert all("the role may not read all rows: a reimport does not follow it" in words for words in said.values())
    assert "nexus_row_security" not in broken


@pytest.mark.parametrize("table", ["patients", "clinics", "images_image", "referrers"])
def test_rows_that_are_hidden_from_the_role_stop(role: MigrationBench, bench: MigrationBench, table: str) -> None:
    bench.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    broken = found(role)
    assert only({"nexus_row_security": broken["nexus_row_security"]}, "nexus_row_security").subject == f"table {table}"
    assert found(bench) == {}, "the owner sees every row"
