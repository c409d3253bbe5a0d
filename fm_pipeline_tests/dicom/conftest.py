"""Fixtures of the DICOM import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.dicom.watch.watching import Watched
from fm_pipeline_tests.support.orthanc import emptied
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database
from fm_pipeline_tests.support.services import LazyStack


@pytest.fixture(scope="module")
def tables(postgresql: DisposablePostgreSQL) -> Iterator[str]:
    """The URL of a database with our tables, one for all tests of a module: making it takes a second."""
    with empty_database(postgresql) as url:
        migrate(url)
        yield url


@pytest.fixture
def ledger(tables: str) -> str:
    """The URL of a database whose tables of DICOM files are empty, and to which nobody is connected."""
    with connect(tables) as opened, opened.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        cursor.execute(
            "TRUNCATE fm_pipeline.import_jobs, fm_pipeline.import_patients, fm_pipeline.watched_roots,"
            " fm_pipeline.ftp_files, fm_pipeline.erased_dicom_patients RESTART IDENTITY CASCADE"
        )
        opened.commit()
    return tables


@pytest.fixture
def connection(ledger: str) -> Iterator[Connection]:
    """To a database whose tables of DICOM files are empty."""
    with connect(ledger) as opened:
        yield opened


@pytest.fixture
def database(tables: str, connection: Connection) -> Iterator[ReconnectingConnection]:
    """Another connection to it, as a scan has one."""
    with ReconnectingConnection(tables) as lasting:
        yield lasting


@pytest.fixture
def orthanc(stack: LazyStack) -> Iterator[Orthanc]:
    """A client of an empty Orthanc."""
    of = emptied(stack.orthanc).settings()
    with Orthanc(of["ORTHANC_URL"], of["ORTHANC_USERNAME"], of["ORTHANC_PASSWORD"]) as client:
        yield client


@pytest.fixture
def importing(ledger: str, stack: LazyStack, tmp_path: Path) -> ImportBench:
    """An empty Orthanc, an empty ledger, an empty folder."""
    orthanc = emptied(stack.orthanc).settings()
    folder = tmp_path / "hospital"
    folder.mkdir()
    return ImportBench(import_settings(ledger, orthanc, tmp_path / "state"), folder)


@pytest.fixture
def watched(connection: Connection, database: ReconnectingConnection, tmp_path: Path) -> Watched:
    """A directory that is watched."""
    return Watched(connection, database, tmp_path / "hospital")
