"""Reading FileMaker is refused where it would put patients into a database that is not that of Nexus."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import psycopg2
import pytest
from pydantic import SecretStr

from fm_pipeline.errors import CatalogueStop, DatabaseError
from fm_pipeline.preflight.finding import stops
from fm_pipeline.preflight.preflight import preflight
from fm_pipeline.sequence.read_and_stage import read_and_stage, read_changes_and_stage
from fm_pipeline.settings import Settings
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database


@pytest.mark.parametrize("read", [read_and_stage, read_changes_and_stage])
def test_nothing_is_read_for_a_release_whose_times_have_no_zone(
    bench: MigrationBench, read: Callable[[Settings], object]
) -> None:
    bench.execute("ALTER TABLE appointments ALTER end_time TYPE timestamp")
    with pytest.raises(CatalogueStop, match=r"appointments\.end_time is timestamp without time zone"):
        read(bench.settings)
    assert bench.execute("SELECT to_regclass('fm_pipeline.source_records')") == [(None,)]
    assert any("appointments.end_time" in finding.found for finding in stops(preflight(bench.settings)))


@pytest.mark.parametrize("read", [read_and_stage, read_changes_and_stage])
def test_nothing_is_read_into_another_database_than_that_of_nexus(
    bench: MigrationBench, postgresql: DisposablePostgreSQL, read: Callable[[Settings], object]
) -> None:
    with empty_database(postgresql) as another:
        settings = bench.settings.model_copy(update={"nexus_database_url": SecretStr(another)})
        with pytest.raises(CatalogueStop, match="has no table") as stop:
            read(settings)
        assert "NEXUS_DATABASE_URL" in stop.value.remedy
        with psycopg2.connect(another) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT to_regnamespace('fm_pipeline')")
            assert cursor.fetchone() == (None,)
        connection.close()
    assert bench.stand_in.counters()["requests"] == {}


def test_a_database_in_another_encoding_is_refused_before_filemaker_is_read(bench: MigrationBench) -> None:
    name = f"{bench.database_url.rsplit('/', 1)[1]}_latin"
    settings = bench.settings.model_copy(
        update={"nexus_database_url": SecretStr(bench.database_url.rsplit("/", 1)[0] + f"/{name}")}
    )
    with closing(psycopg2.connect(bench.database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        try:
            with pytest.raises(DatabaseError, match="LATIN1, and not in UTF8"):
                read_and_stage(settings)
            assert bench.stand_in.counters()["requests"] == {}
            assert "encoding" in {finding.subject for finding in stops(preflight(settings))}
        finally:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
