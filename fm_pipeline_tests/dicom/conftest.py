"""Fixtures of the DICOM import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from fm_pipeline.dicom.lasting_connection import LastingConnection
from fm_pipeline.nexus.database import connect
from fm_pipeline.nexus.migrate import migrate
from fm_pipeline_tests.bench.orthanc import emptied
from fm_pipeline_tests.bench.postgres import DisposablePostgreSQL, empty_database
from fm_pipeline_tests.bench.services import LazyStack
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings


@pytest.fixture(scope="module")
def tables(postgresql: DisposablePostgreSQL) -> Iterator[str]:
    """The URL of a database with our tables, one for all tests of a module: making it takes a second."""
    with empty_database(postgresql) as url:
        migrate(url)
        yield url


@pytest.fixture
def connection(tables: str) -> Iterator[Connection]:
    """To a database whose tables of DICOM files are empty."""
    with connect(tables) as opened:
        with opened.cursor() as cursor:
            cursor.execute("TRUNCATE fm_pipeline.import_jobs, fm_pipeline.watched_roots CASCADE")
        opened.commit()
        yield opened


@pytest.fixture
def database(tables: str, connection: Connection) -> Iterator[LastingConnection]:
    """Another connection to it, as a scan has one."""
    with LastingConnection(tables) as lasting:
        yield lasting


@pytest.fixture
def importing(database_url: str, stack: LazyStack, tmp_path: Path) -> ImportBench:
    """An empty Orthanc, an empty ledger, an empty folder."""
    orthanc = emptied(stack.orthanc).settings()
    migrate(database_url)
    folder = tmp_path / "hospital"
    folder.mkdir()
    return ImportBench(import_settings(database_url, orthanc, tmp_path / "state"), folder)
