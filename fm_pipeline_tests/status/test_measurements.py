from __future__ import annotations

from datetime import timedelta

import pytest

from fm_pipeline.db.run_reports import store_run_report
from fm_pipeline.status.measurements import Measurements, read_measurements
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, Origin


@pytest.mark.usefixtures("reimported_once")
def test_the_numbers_are_those_of_the_last_reimport(bench: MigrationBench) -> None:
    bench.execute(
        "UPDATE fm_pipeline.staged_builds SET ready = ready - 3, quarantined = 3 WHERE entity = 'appointment'"
    )
    found = read_measurements(bench.database_url)
    ((at, rows),) = bench.execute("SELECT started_at, (report ->> 'changed_rows')::bigint FROM fm_pipeline.reimports")
    assert (found.last_reimport, found.last_reimport_rows) == (at, rows)
    assert rows > 0
    assert {entity: count for entity, count in found.quarantined.items() if count} == {"appointment": 3}


def test_a_reimport_that_a_restore_has_undone_is_not_the_last_one(
    reimported_once: Origin, bench: MigrationBench
) -> None:
    first = read_measurements(bench.database_url)
    later = RUN_TIME + timedelta(hours=1)
    bench.execute(
        "INSERT INTO fm_pipeline.reimports SELECT (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid(),"
        " 'plan_id', NULL, 'backup_id', NULL, 'started_at', %s::text, 'report', '{\"changed_rows\": 7}'::jsonb))).*"
        " FROM fm_pipeline.reimports r",
        later.isoformat(),
    )
    found = read_measurements(bench.database_url)
    assert (found.last_reimport, found.last_reimport_rows) == (later, 7)
    ((backup,),) = bench.execute(
        "INSERT INTO fm_pipeline.backups (id, created_at, folder, encrypted, bytes, digests, verified_at)"
        " VALUES (gen_random_uuid(), %s, 'x', false, 1, '{}', clock_timestamp()) RETURNING id::text",
        RUN_TIME + timedelta(minutes=1),
    )
    store_run_report(bench.database_url, "undoes the second", "restore", {}, subject=backup)
    found = read_measurements(bench.database_url)
    assert (found.last_reimport, found.last_reimport_rows) == (first.last_reimport, first.last_reimport_rows)


def test_where_the_pipeline_never_ran_there_are_no_numbers(database_url: str) -> None:
    assert read_measurements(database_url) == Measurements()
