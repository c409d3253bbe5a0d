"""PostgreSQL for a benchmark, as a production server is set (it waits for its disk), and databases with a clinic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

import psycopg2
from psycopg2 import sql

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.filemaker.data_api.door import DataApiDoor
from fm_pipeline.filemaker.model import Field, FileMakerRecord, Page
from fm_pipeline.sandbox.clinic.fill import fill_nexus
from fm_pipeline.sandbox.clinic.generate import Clinic
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.staging.extract import extract

if TYPE_CHECKING:
    from fm_pipeline.filemaker.data_api.client import DataApiClient


class LoggingPostgreSQL(PostgreSQLService):
    """The embedded server with its log as JSON; a database logs its statements when `log_statements` says so."""

    options: ClassVar[dict[str, str]] = {
        "logging_collector": "on",
        "log_destination": "jsonlog",
        "log_filename": "statements",
    }


class Databases:
    """The databases of one server."""

    def __init__(self, server: LoggingPostgreSQL) -> None:
        self.server = server

    def make(self, name: str, clinic: Clinic) -> None:
        """A Nexus filled with the clinic, and FileMaker's records of it extracted already."""
        self._execute("CREATE DATABASE {} TEMPLATE template0", name)
        url = self.server.url(name)
        with closing(psycopg2.connect(url)) as connection:
            create_nexus(connection)
            connection.commit()
            fill_nexus(connection, clinic)
        migrate(url)
        profile = load_profile("nexus")
        door = DataApiDoor(cast("DataApiClient", _InMemory(clinic)))
        with connect(url) as connection:
            for entity in profile.entities:
                extract(door, connection, profile, entity, run_id=None, now=lambda: datetime.now(UTC))
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE")  # as autovacuum leaves a database that has been in use

    @contextmanager
    def copy(self, of: str, *, log_statements: bool = False) -> Iterator[str]:
        """The URL of a copy of a database, dropped afterwards."""
        name = f"{of}_copy"
        self._execute("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, of)
        try:
            if log_statements:
                self._execute("ALTER DATABASE {} SET log_min_duration_statement = 0", name)
            yield self.server.url(name)
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def _execute(self, statement: str, *names: str) -> None:
        with closing(psycopg2.connect(self.server.url("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


class _InMemory:
    """The clinic's FileMaker file as far as an extraction asks for it. Reading over HTTP is not what is measured."""

    source = "memory"

    def __init__(self, clinic: Clinic) -> None:
        self._tables = {table.layout: table for table in clinic.filemaker_tables()}
        self._records: dict[str, list[Any]] = {layout: list(table.records()) for layout, table in self._tables.items()}

    def layouts(self) -> list[str]:
        return list(self._tables)

    def layout_fields(self, layout: str) -> list[Field]:
        return [Field(name, "normal", kind) for name, kind in self._tables[layout].fields]

    def page(self, layout: str, offset: int, limit: int) -> Page:
        rows = self._records[layout]
        records = (
            FileMakerRecord(number, 1, row) for number, row in enumerate(rows[offset - 1 : offset - 1 + limit], offset)
        )
        return Page(tuple(records), len(rows))
