"""A clinic that can be reset to one state, with gates inside its database, and the checks after a kill.

A gate is a trigger that waits while it is closed. It makes a run wait in the middle of a statement, without any test
code in the run: the unchanged command and Dagster job are killed.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from psycopg2 import sql

from fm_pipeline.db.digest import Digest
from fm_pipeline.errors import PlanStop
from fm_pipeline.nexus.backup.backup import PARTIAL, make_backup
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.stack import Stack, temporary_stack
from fm_pipeline.sandbox.stack.waiting import wait_until
from fm_pipeline.sequence.reimport import reimport
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.support.postgres import create_database
from fm_pipeline_tests.support.services import memory_folder

NAME, PRISTINE = "clinic", "pristine"
US = "kills"  # our own application name; every other session belongs to the run
GATES = 4711
SESSIONS_END_SECONDS = 60
# A killed run may have renamed its backup and not yet recorded it; that one folder stays.
UNRECORDED_BACKUPS = 1


class Gate(IntEnum):
    """The places where a run can be made to wait."""

    STAGING_PATIENTS = 1
    STAGING_NOTES = 2
    BACKUP_VERIFY = 3
    BACKUP_RECORD = 4
    PHASE_2 = 12
    PHASE_3 = 13
    PHASE_4 = 14
    PHASE_5 = 15
    PHASE_6 = 16
    PHASE_7 = 17
    PHASE_8 = 18
    RECORD = 19


_STATEMENT_GATES = {
    # A reimport may find every patient staged as its plan has left them. It always looks for some to delete.
    Gate.STAGING_PATIENTS: "AFTER INSERT OR DELETE ON fm_pipeline.staged_patients",
    Gate.STAGING_NOTES: "AFTER INSERT OR DELETE ON fm_pipeline.staged_notes",
    Gate.BACKUP_RECORD: "BEFORE INSERT ON fm_pipeline.backups",
    Gate.PHASE_2: "AFTER DELETE ON patients",
    Gate.PHASE_3: "AFTER UPDATE ON patients",
    Gate.PHASE_4: "AFTER INSERT ON appointments",
    Gate.PHASE_5: "AFTER INSERT ON notes",
    Gate.PHASE_6: "AFTER UPDATE ON documents_document",
    Gate.PHASE_7: "AFTER UPDATE ON images_batch",
    Gate.RECORD: "AFTER INSERT ON fm_pipeline.reimports",
}
_MAKE_GATES = f"""
CREATE SCHEMA kills;
CREATE FUNCTION kills.pass() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATES}, TG_ARGV[0]::int); RETURN NULL; END $$;
CREATE FUNCTION kills.pass_row() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATES}, TG_ARGV[0]::int); RETURN NEW; END $$;
CREATE FUNCTION kills.pass_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATES}, {int(Gate.BACKUP_VERIFY)}); END $$;
CREATE EVENT TRIGGER kills ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION kills.pass_ddl();
CREATE CONSTRAINT TRIGGER kills_8 AFTER UPDATE ON patients DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION kills.pass_row({int(Gate.PHASE_8)});
""" + "".join(
    f"CREATE TRIGGER kills_{gate:d} {when} FOR EACH STATEMENT EXECUTE FUNCTION kills.pass({gate:d});"
    for gate, when in _STATEMENT_GATES.items()
)


class Broken(Exception):
    """A check that must hold has failed."""


class _Observer:
    """One open connection of ours."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg2.connect(url)
        self.connection.autocommit = True

    def ask(self, question: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(question, values or None)
            return cursor.fetchall()


@dataclass
class KillClinic:
    """The clinic, its state before a reimport and after one.

    Attributes:
        bench: our own access to both systems; its sessions are named `US`.
        folder: for the files of the runs.
        permission: of a plan that was made in the state `before`.
        before: digests of every table of Nexus.
        after: the same after a reimport, without the times of the run; empty until `learn_after`.
    """

    stack: Stack
    bench: MigrationBench
    folder: Path
    permission: Permission
    before: Mapping[str, Digest]
    after: Mapping[str, tuple[object, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._observer = _Observer(self.bench.database_url)

    @property
    def postgresql(self) -> PostgreSQLService:
        """The server."""
        return self.stack.service(PostgreSQLService)

    @property
    def backups(self) -> Path:
        """Where backups are written."""
        return self.bench.settings.state_dir / "backups"

    def learn_after(self) -> None:
        """Take the current state as the state after a reimport, if it is as expected; then reset."""
        if differences := self.bench.differences(small_clinic().expected()):
            raise Broken(f"the undisturbed reimport is not as expected: {len(differences)} differences")
        self.after = self._without_times()
        self.reset()
        if self.after == self._without_times():
            raise Broken("before and after are the same, so they cannot be distinguished")

    def reset(self) -> None:
        """Restore the state before, and remove all files of the runs."""
        with self._maintenance() as execute:
            execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(NAME)))
        create_database(self.postgresql, NAME, PRISTINE)
        self.bench.stand_in.heal()
        shutil.rmtree(self.bench.settings.state_dir, ignore_errors=True)

    def keep_as_pristine(self) -> None:
        """Keep the current database as the one that `reset` restores."""
        create_database(self.postgresql, PRISTINE, NAME)

    def state(self) -> str:
        """Return `before` or `after`, by the digests of all tables.

        Raises:
            Broken: it is neither, or the pipeline's own record contradicts it.
        """
        digests = self.bench.digests()
        if digests == self.before:
            state = "before"
        elif self._without_times() == self.after:
            state = "after"
        else:
            changed = sorted(name for name in digests if digests[name] != self.before[name])
            raise Broken(f"Nexus is neither before nor after: {', '.join(changed)}")
        ((recorded,),) = self.bench.execute("SELECT count(*) FROM fm_pipeline.reimports")
        if recorded != (state == "after"):
            raise Broken(f"Nexus is {state}, but {recorded} reimports are recorded")
        return state

    def ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a query on a connection that stays open, because this happens a hundred times a second."""
        try:
            return self._observer.ask(question, values)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):  # the database was reset, or killed
            self._observer = _Observer(self.bench.database_url)
            return self._observer.ask(question, values)

    def close(self) -> None:
        """Close that connection."""
        self._observer.connection.close()

    def sessions(self) -> list[int]:
        """Return the process ids of the run's sessions in the server."""
        rows = self.ask(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name <> %s"
            " AND backend_type = 'client backend'",
            US,
        )
        return [row[0] for row in rows]

    def waits_at(self, gate: Gate) -> bool:
        """Return whether a session waits at the gate."""
        return bool(
            self.ask(
                "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = %s AND objid = %s",
                GATES,
                int(gate),
            )
        )

    def reached(self) -> str:
        """Return how far a killed run had come, by what it left."""
        steps = {
            "after the commit": "SELECT 1 FROM fm_pipeline.reimports",
            "in the transaction": "SELECT 1 FROM fm_pipeline.audit WHERE action = 'reimport'",
            "backup": "SELECT 1 FROM fm_pipeline.audit WHERE action = 'backup'",
        }
        for step, question in steps.items():
            if self.ask(question):
                return step
        return "reading and staging"

    def check_sessions_are_gone(self) -> None:
        """Check that the server has ended the sessions of the dead run, also in the middle of a statement."""
        if not wait_until(lambda: not self.sessions(), SESSIONS_END_SECONDS):
            raise Broken(f"sessions of the dead run still there after {SESSIONS_END_SECONDS} s: its locks are held")

    def check_nothing_is_left(self) -> None:
        """Check that no lock, schema, temporary table, prepared transaction or temporary file is left."""
        left = {
            "advisory lock": "SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
            " WHERE locktype = 'advisory' AND d.datname = current_database()",
            "schema": "SELECT 1 FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN"
            " ('public', 'fm_pipeline', 'kills', 'information_schema')",
            "temporary table": "SELECT 1 FROM pg_class WHERE relpersistence = 't'",
            "prepared transaction": "SELECT 1 FROM pg_prepared_xacts",
            "temporary file": "SELECT 1 FROM pg_ls_tmpdir()",
        }
        found = [what for what, question in left.items() if self.ask(question)]
        if found:
            raise Broken(f"left behind in the server: {', '.join(found)}")

    def check_backups(self) -> None:
        """Check after the next run that there is no partial backup, and that every recorded one exists."""
        names = {path.name for path in self.backups.iterdir()}
        recorded = {Path(row[0]).name for row in self.bench.execute("SELECT folder FROM fm_pipeline.backups")}
        if half := [name for name in names if name.endswith(PARTIAL)]:
            raise Broken(f"half a backup is left: {', '.join(half)}")
        if missing := recorded - names:
            raise Broken(f"recorded, but not there: {', '.join(sorted(missing))}")
        if len(names - recorded) > UNRECORDED_BACKUPS:
            raise Broken(f"{len(names - recorded)} backups that no row knows of")

    def reimport_again(self) -> None:
        """Carry out the same plan once more, in this process."""
        self.bench.extract_and_stage()
        now = dt.datetime.now(dt.UTC)
        make_backup(self.bench.settings, now=now)
        reimport(self.bench.settings, now=now, permission=self.permission)

    def check_the_next_run(self, state: str, again: str = "") -> None:
        """Check that the next run carries out the plan if nothing was committed, and otherwise refuses it.

        Args:
            again: output of the next run, if it has already run.
        """
        if state == "before":
            if not again:
                self.reimport_again()
        else:
            try:
                if not again:
                    self.reimport_again()
            except PlanStop as stop:
                again = str(stop)
            if "carried out already" not in again:
                raise Broken("the plan was carried out twice")
            if rows := self.bench.plan(dt.datetime.now(dt.UTC)).report.changed_rows:
                raise Broken(f"a new plan would change {rows} rows of what was just reimported")
        if self.state() != "after":
            raise Broken("the next run did not bring Nexus to the new state")

    def kill_session(self, pid: int) -> None:
        """Kill one process of the server; the server then ends all sessions and recovers."""
        process = psutil.Process(pid)
        process.kill()
        psutil.wait_procs([process], timeout=SESSIONS_END_SECONDS)

    def kill_server(self) -> None:
        """Kill the postmaster and all its children."""
        (status,) = [status for status in self.stack.status() if status.name == PostgreSQLService.name]
        postmaster = psutil.Process(status.pid)
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:  # a child that ended by itself
                continue
        psutil.wait_procs(processes, timeout=SESSIONS_END_SECONDS)

    def start_server(self) -> None:
        """Start the server again on the same data, and wait until it answers."""
        self.stack.up()
        self.wait_for_server()

    def wait_for_server(self) -> None:
        """Wait until the server accepts connections; after a killed session it recovers first."""
        if not wait_until(self.postgresql.ready, SESSIONS_END_SECONDS * 4):
            raise Broken("PostgreSQL did not come back")

    def _without_times(self) -> dict[str, tuple[object, ...]]:
        question = sql.SQL(
            "SELECT count(*), sum(hashtextextended((to_jsonb(t) - '{{created_at,updated_at}}'::text[]"
            " #- '{{filemaker_metadata,imported_at}}')::text, 0)) FROM {} t"
        )
        with self.bench.connection() as connection, connection.cursor() as cursor:
            digests = {}
            for name in self.before:
                cursor.execute(question.format(sql.Identifier(self.bench.settings.nexus_schema, name)))
                digests[name] = cursor.fetchone() or ()
            return digests

    @contextmanager
    def _maintenance(self) -> Iterator[Callable[[sql.Composed], None]]:
        with closing(psycopg2.connect(self.postgresql.url("postgres"), application_name=US)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor.execute


@contextmanager
def kill_clinic(folder: Path) -> Iterator[KillClinic]:
    """Run a small clinic on a server of its own with fsync, staged and planned."""
    with temporary_stack([PostgreSQLService], parent=memory_folder()) as stack:
        server = stack.service(PostgreSQLService)
        with closing(psycopg2.connect(server.url("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))
        url = f"{server.url(NAME)}?application_name={US}"
        with migration_bench(url, folder, small_clinic()) as whole:
            bench = whole.with_settings(filemaker_page_size=25)  # several pages an entity
            bench.extract_and_stage().execute(_MAKE_GATES)
            clinic = KillClinic(stack, bench, folder, bench.permission(bench.plan(RUN_TIME)), bench.digests())
            clinic.close()  # a database is copied when nobody is in it
            clinic.keep_as_pristine()
            yield clinic
            clinic.close()
