"""A small clinic for tests: a Nexus database, a FileMaker stand-in, and every step from one to the other.

`MigrationBench.extract_and_stage()` and `.reimport()` call the domain code that the Dagster assets call.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from pydantic import SecretStr

from fm_pipeline.db.digest import Digest
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.nexus.reimport.report import ReimportReport
from fm_pipeline.sandbox.clinic.fill import fill_filemaker, fill_nexus
from fm_pipeline.sandbox.clinic.generate import Clinic, generate_clinic
from fm_pipeline.sandbox.clinic.nexus.compare import Mismatch, differences
from fm_pipeline.sandbox.clinic.nexus.oracle import Expected
from fm_pipeline.sandbox.clinic.nexus.values import Profile
from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline.sandbox.nexus.digest import schema_digest
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sequence.read_and_stage import read_and_stage
from fm_pipeline.sequence.reimport import ReimportPlan, make_plan, reimport
from fm_pipeline.settings import Settings, load_settings
from fm_pipeline_tests.sandbox.filemaker.running import StandIn, running_stand_in
from fm_pipeline_tests.support.postgres import empty_database

SCALE = 0.02
FILEMAKER = "filemaker.sqlite"
DATABASE, USER, PASSWORD = "clinic", "pipeline", "a password of the test bench"
RUN_TIME = dt.datetime(2025, 11, 20, 3, 0, tzinfo=dt.UTC)


@cache
def small_clinic(scale: float = SCALE) -> Clinic:
    """The clinic of most tests; generated once a process."""
    return generate_clinic(scale=scale)


@dataclass(frozen=True)
class MigrationBench:
    """Both systems, filled, and the settings with which the pipeline uses them."""

    settings: Settings
    stand_in: StandIn
    store: Store

    @property
    def database_url(self) -> str:
        """URL of the Nexus database."""
        return self.settings.nexus_database_url.get_secret_value()

    def environment(self) -> dict[str, str]:
        """Return the settings as environment variables."""
        given = self.settings.model_dump(exclude_unset=True)
        return {
            name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in given.items()
        }

    def with_settings(self, **changes: Any) -> MigrationBench:
        """Return the same bench with other settings."""
        return replace(self, settings=self.settings.model_copy(update=changes))

    def refill_filemaker(self, clinic: Clinic) -> None:
        """Replace FileMaker's records by those of another clinic, with new record ids."""
        for table in clinic.filemaker_tables():
            name = table.layout.removeprefix("API_")
            for (record_id,) in self.execute(
                "SELECT record_id FROM fm_pipeline.source_records JOIN fm_pipeline.source_extractions USING (entity)"
                " WHERE layout = %s",
                table.layout,
            ):
                self.store.delete(DATABASE, name, record_id)
            self.store.insert(DATABASE, name, table.records())

    def extract_and_stage(self) -> MigrationBench:
        """Extract and stage FileMaker's records (phase 0)."""
        read_and_stage(self.settings)
        return self

    def plan(self, now: dt.datetime = RUN_TIME, **options: Any) -> ReimportPlan:
        """Make a plan."""
        return make_plan(self.settings, now=now, actor="bench", **options)

    def permission(self, plan: ReimportPlan) -> Permission:
        """Return the permission by a plan, with its confirmation."""
        return Permission(plan.id, plan.confirmation, "bench")

    def reimport(self, now: dt.datetime = RUN_TIME, **options: Any) -> ReimportReport:
        """Run plan, backup and reimport of the staged rows."""
        from fm_pipeline.nexus.backup.backup import make_backup  # noqa: PLC0415

        phases = {"phases": options["phases"]} if "phases" in options else {}
        permission = self.permission(self.plan(now, **phases))
        make_backup(self.settings, now=now)
        return reimport(self.settings, now=now, permission=permission, **options)

    def differences(self, expected: Expected) -> list[Mismatch]:
        """Return the rows of Nexus that differ from the expected result."""
        with self.connection() as connection:
            return differences(connection, expected)

    def digests(self) -> dict[str, Digest]:
        """Return the digest of every table in Nexus' schema."""
        with self.connection() as connection, connection.cursor() as cursor:
            return schema_digest(cursor, read_catalogue(cursor, self.settings.nexus_schema))

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement as another user and commit; return its rows if it has any."""
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
            return rows

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Open a connection that is not the pipeline's."""
        with closing(psycopg2.connect(self.database_url)) as connection:
            yield connection


@dataclass(frozen=True)
class Origin:
    """What benches are copies of: the name of a database on the test's server, and the file of a stand-in."""

    database: str
    filemaker: Path


@contextmanager
def migration_bench(
    database_url: str, folder: Path, clinic: Clinic, profile: Profile = "nexus"
) -> Iterator[MigrationBench]:
    """Fill an empty database and a stand-in of its own with a clinic, in the layouts of a profile."""
    with closing(psycopg2.connect(database_url)) as connection:
        create_nexus(connection)
        connection.commit()
        fill_nexus(connection, clinic)
    with closing(Store(folder / FILEMAKER)) as store:
        store.create_database(DATABASE, [ServerAccount(USER, PASSWORD)])
        fill_filemaker(store, clinic, DATABASE, profile)
        with _served(store, database_url, folder, profile) as running:
            yield running


@contextmanager
def copied_bench(server: PostgreSQLService, origin: Origin, folder: Path) -> Iterator[MigrationBench]:
    """A bench of its own that is a copy of another one.

    Args:
        origin: nobody is connected to its database, and nobody has its file open.
    """
    with empty_database(server, origin.database) as url, _copied(url, origin, folder) as running:
        yield running


@contextmanager
def derived(
    server: PostgreSQLService, origin: Origin, folder: Path, change: Callable[[MigrationBench], object]
) -> Iterator[Origin]:
    """What a copy of an origin is after a change."""
    with empty_database(server, origin.database) as url:
        with _copied(url, origin, folder) as running:
            change(running)
        yield Origin(url.rsplit("/", 1)[1], folder / FILEMAKER)


@contextmanager
def _copied(database_url: str, origin: Origin, folder: Path) -> Iterator[MigrationBench]:
    shutil.copyfile(origin.filemaker, folder / FILEMAKER)
    with (
        closing(Store(folder / FILEMAKER)) as store,
        _served(store, database_url, folder, "nexus") as running,
    ):
        yield running


@contextmanager
def _served(store: Store, database_url: str, folder: Path, profile: Profile) -> Iterator[MigrationBench]:
    with running_stand_in(store) as stand_in:
        settings = load_settings(
            _env_file=None,
            nexus_database_url=database_url,
            filemaker_url=stand_in.base_url,
            filemaker_database=DATABASE,
            filemaker_username=USER,
            filemaker_password=PASSWORD,
            filemaker_profile=profile,
            state_dir=folder / "state",
        )
        yield MigrationBench(settings, stand_in, store)
