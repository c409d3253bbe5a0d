"""Databases whose text is compared by other rules than ours: Django's `db_collation`, ICU, ignoring letter case."""

from __future__ import annotations

import psycopg2
import pytest

from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline_tests.support.clinics import MigrationBench, small_clinic

# Every text column of Nexus gets a collation of its own.
_COLLATE = """
DO $$
DECLARE c record;
BEGIN
    FOR c IN SELECT attrelid::regclass AS t, attname, format_type(atttypid, atttypmod) AS type
             FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
             WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
               AND atttypid IN ('text'::regtype, 'varchar'::regtype)
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER %I TYPE %s COLLATE {}', c.t, c.attname, c.type);
    END LOOP;
END $$
"""


def _reimport_and_back(bench: MigrationBench) -> None:
    before = bench.digests()
    bench.extract_and_stage().reimport()
    unlike = bench.differences(small_clinic().expected())
    assert [d for d in unlike if d.columns != ("updated_at",)] == []
    folder = list_backups(bench.settings)[-1].folder
    shown = restore(bench.settings, folder, confirm="", dry_run=True)
    restore(bench.settings, folder, confirm=shown.confirmation)
    assert bench.digests() == before


def test_text_columns_with_a_collation_of_their_own_are_reimported_and_restored(bench: MigrationBench) -> None:
    bench.execute(_COLLATE.format('"POSIX"'))
    _reimport_and_back(bench)


def test_a_change_of_letter_case_is_loaded_into_a_case_insensitive_column(bench: MigrationBench) -> None:
    try:
        bench.execute("CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    except psycopg2.errors.FeatureNotSupported:
        pytest.skip("this PostgreSQL was built without ICU")
    bench.execute(_COLLATE.format("any_case"))
    bench.execute("UPDATE patients SET last_name = upper(last_name)")
    _reimport_and_back(bench)
