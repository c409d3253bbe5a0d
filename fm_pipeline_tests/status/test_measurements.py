from __future__ import annotations

import pytest

from fm_pipeline.status.measurements import Measurements, read_measurements
from fm_pipeline_tests.support.clinics import MigrationBench


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


def test_where_the_pipeline_never_ran_there_are_no_numbers(database_url: str) -> None:
    assert read_measurements(database_url) == Measurements()
