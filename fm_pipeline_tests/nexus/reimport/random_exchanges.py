"""Random constraints on the patients, and records that exchange, pass on, give up and take over the values in them.

`python -m fm_pipeline_tests.nexus.reimport.random_exchanges --count 5000 --seed 1` loads so many sets of staged
patients into Nexus and rolls each back; `--whole` carries each out as a reimport and restores the backup. `--done N`
goes on after the first N of an earlier call. Exit code 0 if each ended with the staged rows, or was refused where no
step is allowed.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2.errors
from hypothesis import strategies as st
from psycopg2.extensions import cursor as Cursor
from pydantic import SecretStr

from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.reimport.difference import plan_difference
from fm_pipeline.nexus.reimport.exchanged_values import update_changed
from fm_pipeline.nexus.table_policy import LOADED
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.staging.check import staged_columns
from fm_pipeline_tests.nexus.backup.restoring import give_back
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.support.postgres import empty_database
from fm_pipeline_tests.support.searching import search, search_options
from fm_pipeline_tests.support.services import LazyStack, memory_folder

CHUNK = 250
SCALE = 0.004
PATIENT = LOADED[0]
ROWS = 8  # of the patients, whose values change
TIMES = ("", "", "", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED")
RULES = (
    "ADD UNIQUE (health_number){time}",
    "ADD UNIQUE (dob){time}",
    "ADD UNIQUE (health_number, dob){time}",
    "ADD EXCLUDE USING gist (daterange(plan_start_date, plan_end_date) WITH &&){time}",
    "ADD EXCLUDE USING btree (health_number WITH =) WHERE (NOT archived){time}",
    "ADD EXCLUDE USING hash (dob WITH =){time}",
    "ADD code text GENERATED ALWAYS AS (upper(health_number)) STORED, ADD UNIQUE (code){time}",
    "ADD seen bigint GENERATED ALWAYS AS IDENTITY, ADD UNIQUE (seen){time}",
)
INDEXES = (
    "(lower(health_number))",
    "(dob) WHERE archived IS FALSE",
    "(health_number DESC, dob)",
    "((dob - plan_start_date), lower(health_number))",
    "((filemaker_metadata ->> 'filemaker_id'), health_number)",
)
# What forbids the column to be empty, or to have another value.
FILLED = (
    "ALTER health_number SET NOT NULL",
    "ALTER dob SET NOT NULL, ALTER plan_end_date SET NOT NULL",
    "ADD CHECK (health_number ~ '^N[0-9]+$')",
    "ADD CHECK (num_nonnulls(health_number, dob) = 2)",
    "ADD CHECK (plan_end_date > plan_start_date AND plan_start_date < '2100-01-01')",
)
# What forbids to delete a row and insert it again.
HELD = (
    "CREATE TABLE cards (patient_id uuid PRIMARY KEY REFERENCES patients ON DELETE CASCADE);"
    "INSERT INTO cards SELECT id FROM patients",
    "CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
    "CREATE TRIGGER held AFTER DELETE ON patients FOR EACH ROW EXECUTE FUNCTION held()",
)
# Each patient has values of their own, in Nexus and as staged.
DISTINCT = """
UPDATE {table} t SET health_number = 'N' || n, dob = '1900-01-01'::date + n,
    plan_start_date = '2000-01-01'::date + 2 * n, plan_end_date = '2000-01-02'::date + 2 * n
FROM (SELECT nexus_id, row_number() OVER (ORDER BY nexus_id)::integer AS n FROM fm_pipeline.staged_patients) s
WHERE s.nexus_id = t.{key}
"""
GROUPS = (("health_number",), ("dob",), ("plan_start_date", "plan_end_date"))


@dataclass(frozen=True)
class Example:
    """Constraints of the table, and for each group of columns whose values the rows get."""

    rules: tuple[str, ...]
    time: str
    index: str | None
    filled: tuple[str, ...]
    held: str | None
    orders: tuple[tuple[int, ...], ...]
    gone: bool  # the last row goes; who gets its values in the orders keeps them
    new: bool  # a new row takes what the last one has in the orders

    @property
    def setup(self) -> Iterator[str]:
        """Statements."""
        added = [rule.format(time=self.time) for rule in self.rules] + list(self.filled)
        if added:
            yield f"ALTER TABLE patients {', '.join(added)}"
        if self.index:
            yield f"CREATE UNIQUE INDEX ON patients {self.index}"
        if self.held:
            yield self.held


def examples() -> st.SearchStrategy[Example]:
    """Any of them."""
    return st.builds(
        Example,
        rules=st.lists(st.sampled_from(RULES), max_size=3, unique=True).map(tuple),
        time=st.sampled_from(TIMES),
        index=st.none() | st.sampled_from(INDEXES),
        filled=st.lists(st.sampled_from(FILLED), max_size=2, unique=True).map(tuple),
        held=st.none() | st.sampled_from(HELD),
        orders=st.tuples(*(st.permutations(range(ROWS)).map(tuple) for _ in GROUPS)),
        gone=st.booleans(),
        new=st.booleans(),
    )


def change_staging(cursor: Cursor, example: Example) -> str:
    """Stage the rows as the example says; returns the Nexus id of the row that goes, or nothing."""
    cursor.execute("SELECT nexus_id::text FROM fm_pipeline.staged_patients ORDER BY nexus_id LIMIT %s", (ROWS,))
    ids = [str(row[0]) for row in cursor.fetchall()]
    for columns, order in zip(GROUPS, example.orders, strict=True):
        cursor.execute(
            f"UPDATE fm_pipeline.staged_patients s SET ({', '.join(columns)}) ="  # noqa: S608  # our own names
            f" ROW({', '.join(f'o.{column}' for column in columns)})"
            " FROM unnest(%s::uuid[], %s::uuid[]) AS to_from (id, other)"
            " JOIN (SELECT * FROM fm_pipeline.staged_patients) o ON o.nexus_id = to_from.other"
            " WHERE s.nexus_id = to_from.id",
            (ids, [ids[place] for place in order]),
        )
    if not example.gone:
        return ""
    gone = ids[-1]
    if example.new:
        cursor.execute(
            "UPDATE fm_pipeline.staged_patients SET nexus_id = gen_random_uuid(), filemaker_key ="
            " gen_random_uuid()::text, filemaker_metadata = filemaker_metadata || jsonb_build_object('filemaker_id',"
            " gen_random_uuid()::text) WHERE nexus_id = %s",
            (gone,),
        )
    else:
        cursor.execute("DELETE FROM fm_pipeline.staged_patients WHERE nexus_id = %s", (gone,))
    return gone


class Bench:
    """A clinic after its reimport, in which each example is tried."""

    def __init__(self, server: PostgreSQLService, imported: MigrationBench) -> None:
        self._server, self._imported = server, imported
        self.seen: Counter[str] = Counter()

    def try_out(self, example: Example) -> None:
        """Load, look, roll back."""
        with self._imported.connection() as connection, connection.cursor() as cursor:
            for statement in example.setup:
                cursor.execute(statement)
            gone = change_staging(cursor, example)
            catalogue = read_catalogue(cursor, "public")
            difference = plan_difference(PATIENT, catalogue, staged_columns(cursor)["patient"], "keep")
            columns = catalogue.columns[difference.table]
            others = ", ".join(sorted(columns.keys() - difference.written - {"code"}))
            unfed = f"SELECT id, md5(ROW({others})::text) FROM patients"  # noqa: S608  # names of the catalogue
            cursor.execute(unfed)
            before = dict(cursor.fetchall())
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            if gone:
                for key in catalogue.foreign_keys_to(difference.table):
                    cursor.execute(f"DELETE FROM {key.table} WHERE {key.columns[0]} = %s", (gone,))  # noqa: S608
                cursor.execute("DELETE FROM patients WHERE id = %s", (gone,))
            cursor.execute("SAVEPOINT at_once")
            try:
                difference.update(cursor, RUN_TIME)
            except (psycopg2.errors.UniqueViolation, psycopg2.errors.ExclusionViolation):
                self.seen["values change hands"] += 1
            cursor.execute("ROLLBACK TO at_once")
            try:
                update_changed(cursor, difference, columns, RUN_TIME)
            except CatalogueStop:
                assert example.held, "rows that may be deleted and inserted again are never refused"
                assert example.filled, "columns that may be empty are never refused"
                self.seen["refused"] += 1
                return
            difference.insert(cursor, RUN_TIME)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            staged, _, unlike = difference.compare(cursor, RUN_TIME)
            assert not unlike, f"{unlike} of {staged} rows are not as staged"
            cursor.execute(unfed)
            after = {key: value for key, value in cursor.fetchall() if key in before}
            assert after.items() <= before.items(), "a column that FileMaker does not feed was changed"
            self.seen["loaded"] += 1

    def carry_out(self, example: Example) -> None:
        """A whole reimport, and the restore of its backup, in a copy of the database. No patient goes."""
        template = self._imported.database_url.rpartition("/")[2]
        with empty_database(self._server, template) as url:
            bench = self._imported.with_settings(nexus_database_url=SecretStr(url))
            for statement in example.setup:
                bench.execute(statement)
            with bench.connection() as connection, connection.cursor() as cursor:
                change_staging(cursor, replace(example, gone=False))
                connection.commit()
            before = bench.digests()
            try:
                bench.reimport()
            except CatalogueStop:
                assert example.held
                assert example.filled
                self.seen["refused"] += 1
                return
            give_back(bench, list_backups(bench.settings)[0].folder)
            assert bench.digests() == before
            self.seen["carried out"] += 1


@contextmanager
def random_bench(server: PostgreSQLService, folder: Path) -> Iterator[Bench]:
    """A small clinic after its reimport, whose patients have values of their own."""
    with empty_database(server) as url, migration_bench(url, folder, small_clinic(SCALE)) as imported:
        imported.extract_and_stage().reimport()
        imported.execute(DISTINCT.format(table="patients", key="id"))
        imported.execute(DISTINCT.format(table="fm_pipeline.staged_patients", key="nexus_id"))
        yield Bench(server, imported)


def main() -> int:
    """Search."""
    parser = search_options("random-exchanges", "Load patients who exchange unique values.", count=5_000)
    parser.add_argument("--whole", action="store_true", help="carry each out as a reimport, and restore it")
    options = parser.parse_args()
    with (
        temporary_stack([], parent=memory_folder()) as running,
        tempfile.TemporaryDirectory(prefix="random-exchanges-") as folder,
        random_bench(LazyStack(running).postgresql, Path(folder)) as bench,
    ):
        try_out = bench.carry_out if options.whole else bench.try_out
        search(examples(), try_out, options, part=CHUNK, seen=lambda: str(dict(sorted(bench.seen.items()))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
