"""Random tables beside the patients, with random constraints, that somebody changes between a backup and its restore.

`python -m fm_pipeline_tests.nexus.random_constraints --count 1000 --seed 1` backs up, changes and restores so many
databases; exit code 0 if each was what it had been. `--done N` goes on after the first N of an earlier call.
"""

# ruff: noqa: S608  # the names of tables are those of this file

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from hypothesis import strategies as st
from pydantic import SecretStr

from fm_pipeline.errors import Stop
from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.support.postgres import empty_database
from fm_pipeline_tests.support.searching import search, search_options
from fm_pipeline_tests.support.services import LazyStack, memory_folder

CHUNK = 25  # examples with a seed of their own, so that a long search can go on where it was
SCALE = 0.004
ACTIONS = ("NO ACTION", "CASCADE", "SET NULL", "RESTRICT")
TIMES = ("", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED")
RULES = (
    "ADD UNIQUE (number){time}",
    "ADD UNIQUE (place){time}",
    "ALTER number SET NOT NULL, ADD UNIQUE (number){time}",
    "ADD UNIQUE (number, place){time}, ADD UNIQUE (place){time}",
    "ADD EXCLUDE USING gist (lasts WITH &&){time}",
    "ADD EXCLUDE USING gist (lasts WITH &&) WHERE (place > 2){time}",
    "ADD doubled text GENERATED ALWAYS AS (number || number) STORED, ADD UNIQUE (doubled){time}",
    "ADD code bigint GENERATED ALWAYS AS IDENTITY, ADD UNIQUE (code){time}",
)
INDEXES = ("(lower(number))", "(number) WHERE place % 2 = 0", "(number DESC, place)", "((place * 2), (lower(number)))")
CHECKS = (
    "CHECK (num_nonnulls(number, other_id) >= 1)",
    "CHECK (patient_id IS NOT NULL OR other_id IS NOT NULL)",
    "CHECK (place > 0 AND number IS NOT NULL)",
    "CHECK (lower(lasts) = place)",
)
NOT_VALID = (
    "ADD CONSTRAINT strict CHECK (remark <> '') NOT VALID",
    "ADD CONSTRAINT strict FOREIGN KEY (clinic_id) REFERENCES clinics NOT VALID",
    "ADD CONSTRAINT strict FOREIGN KEY (clinic_id) REFERENCES clinics DEFERRABLE INITIALLY DEFERRED NOT VALID",
)


@dataclass(frozen=True)
class Key:
    """A foreign key of a random table."""

    action: str
    time: str

    def __str__(self) -> str:
        return f"ON DELETE {self.action}{self.time}"


@dataclass(frozen=True)
class Shape:
    """A random table. Its `other_id` refers to the row of the same place in another table, or in itself."""

    patient: Key
    other: Key | None
    rules: tuple[str, ...]
    rule_time: str
    index: str | None
    check: str | None
    not_valid: str | None


@dataclass(frozen=True)
class Example:
    """Tables, and what is done to them after the backup: pairs of a change and a table's number."""

    shapes: tuple[Shape, ...]
    changes: tuple[tuple[str, int], ...]


# Somebody's changes. Those that a constraint refuses are not made.
CHANGES = {
    "exchange": "SET LOCAL session_replication_role = replica;"
    "CREATE TEMP TABLE old ON COMMIT DROP AS SELECT *, coalesce(lead(number) OVER w, first_value(number) OVER w) AS"
    " next_number, coalesce(lead(place) OVER w, first_value(place) OVER w) AS next_place FROM {table} WINDOW w AS"
    " (ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING); DELETE FROM {table};"
    "INSERT INTO {table} (id, number, place, lasts, patient_id, other_id, remark, clinic_id) SELECT id, next_number,"
    " next_place, int4range(next_place, next_place + 1), patient_id, other_id, remark, clinic_id FROM old",
    "delete": "DELETE FROM {table} WHERE place % 3 = 0",
    "delete all": "SET LOCAL session_replication_role = replica; DELETE FROM {table}",
    "edit": "UPDATE {table} SET remark = 'edited', number = number || 'x' WHERE place % 2 = 1",
    "lead to another patient": "UPDATE {table} SET patient_id = (SELECT max(id::text)::uuid FROM patients)",
    "a new patient": "INSERT INTO patients SELECT (jsonb_populate_record(NULL::patients, to_jsonb(p) ||"
    " jsonb_build_object('id', gen_random_uuid(), 'mrn', NULL, 'notes', NULL, 'filemaker_metadata', NULL))).*"
    " FROM patients p LIMIT 1; UPDATE {table} SET patient_id = (SELECT id FROM patients WHERE filemaker_metadata"
    " IS NULL LIMIT 1) WHERE place < 3",
    "a new row": "INSERT INTO {table} (number, place, lasts, patient_id, other_id) SELECT 'new', 9000, '[9000,9001)',"
    " (SELECT id FROM patients ORDER BY filemaker_metadata IS NOT NULL, id LIMIT 1),"
    " (SELECT other_id FROM {table} LIMIT 1)",
    "its number": "DELETE FROM {table} WHERE place = 1; INSERT INTO {table} (number, place, lasts, patient_id,"
    " other_id) SELECT 'N1', 1, '[1,2)', (SELECT max(id::text)::uuid FROM patients),"
    " (SELECT other_id FROM {table} LIMIT 1)",
    "let go": "UPDATE {table} SET other_id = NULL, patient_id = NULL WHERE place % 2 = 0",
    "lose patients": "SET LOCAL session_replication_role = replica;"
    "DELETE FROM patients WHERE id IN (SELECT patient_id FROM {table} WHERE place < 3)",
}
REIMPORT = "reimport"


def keys() -> st.SearchStrategy[Key]:
    return st.builds(Key, st.sampled_from(ACTIONS), st.sampled_from(TIMES))


def shapes() -> st.SearchStrategy[Shape]:
    return st.builds(
        Shape,
        patient=keys(),
        other=st.none() | keys(),
        rules=st.lists(st.sampled_from(RULES[:1] + RULES[4:]), max_size=2, unique=True).map(tuple)
        | st.sampled_from(RULES).map(lambda rule: (rule,)),
        rule_time=st.sampled_from(TIMES),
        index=st.none() | st.sampled_from(INDEXES),
        check=st.none() | st.sampled_from(CHECKS),
        not_valid=st.none() | st.none() | st.sampled_from(NOT_VALID),
    )


def examples() -> st.SearchStrategy[Example]:
    changes = st.tuples(st.sampled_from([*CHANGES, REIMPORT]), st.integers(0, 2))
    return st.builds(
        Example,
        st.lists(shapes(), min_size=1, max_size=3).map(tuple),
        st.lists(changes, min_size=1, max_size=4, unique=True).map(tuple),
    )


def statements(example: Example) -> Iterator[str]:
    """What makes the tables, their rows and then their constraints."""
    number = len(example.shapes)
    for n in range(number):
        yield (
            f"CREATE TABLE random_{n} (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), number varchar(20),"
            " place integer, lasts int4range, patient_id uuid, other_id uuid, remark text NOT NULL"
            " DEFAULT 'new', clinic_id uuid);"
            f"INSERT INTO random_{n} SELECT gen_random_uuid(), 'N' || p, p, int4range(p, p + 1), id, NULL,"
            " CASE WHEN p % 2 = 0 THEN '' ELSE 'a' END, CASE WHEN p % 2 = 0 THEN gen_random_uuid() END"
            " FROM (SELECT id, (row_number() OVER (ORDER BY id))::integer AS p FROM patients) s"
        )
    for n, shape in enumerate(example.shapes):
        other = (n + 1) % number
        yield f"UPDATE random_{n} t SET other_id = o.id FROM random_{other} o WHERE o.place = t.place"
        added = [
            f"ADD FOREIGN KEY (patient_id) REFERENCES patients ON DELETE {shape.patient.action}{shape.patient.time}"
        ]
        if shape.other:
            added.append(
                f"ADD FOREIGN KEY (other_id) REFERENCES random_{other} ON DELETE {shape.other.action}{shape.other.time}"
            )
        if shape.check:
            added.append(f"ADD {shape.check}")
        if shape.not_valid:
            added.append(shape.not_valid)
        added += [rule.format(time=shape.rule_time) for rule in shape.rules]
        yield f"ALTER TABLE random_{n} {', '.join(added)}"
        if shape.index:
            yield f"CREATE UNIQUE INDEX ON random_{n} {shape.index}"


class Bench:
    """A staged clinic whose database is copied for each example."""

    def __init__(self, server: PostgreSQLService, pristine: MigrationBench) -> None:
        self._server, self._pristine = server, pristine
        self.seen: Counter[str] = Counter()

    def try_out(self, example: Example) -> None:
        """Back up, change, restore; everything must be as it was."""
        with empty_database(self._server, template=self._pristine.database_url.rpartition("/")[2]) as url:
            bench = self._pristine.with_settings(nexus_database_url=SecretStr(url))
            for statement in statements(example):
                bench.execute(statement)
            tables = [f"random_{n}" for n in range(len(example.shapes))]
            before, rows = bench.digests(), self._rows(bench, tables)
            folder = make_backup(bench.settings, now=RUN_TIME).folder
            for change, n in example.changes:
                self._change(bench, change, f"random_{n % len(tables)}")
            shown = restore(bench.settings, folder, confirm="", dry_run=True, newer="set-aside")
            restore(bench.settings, folder, confirm=shown.confirmation, newer="set-aside")
            after = bench.digests()
            unlike = {name for name in before if before[name] != after[name] and name not in tables}
            assert not unlike, f"{unlike} are not as they were"
            for table, was in rows.items():
                missing = was - self._rows(bench, [table])[table]
                assert not missing, f"{len(missing)} rows of {table} are not as they were"

    def _change(self, bench: MigrationBench, change: str, table: str) -> None:
        try:
            if change == REIMPORT:
                bench.reimport()
            else:
                bench.execute(CHANGES[change].format(table=table))
            self.seen[change] += 1
        except (psycopg2.Error, Stop):
            self.seen[f"{change}, refused"] += 1

    @staticmethod
    def _rows(bench: MigrationBench, tables: Sequence[str]) -> dict[str, set[str]]:
        return {table: {row for (row,) in bench.execute(f"SELECT t::text FROM {table} t")} for table in tables}


@contextmanager
def random_bench(server: PostgreSQLService, folder: Path) -> Iterator[Bench]:
    """A small staged clinic on a server."""
    with empty_database(server) as url, migration_bench(url, folder, small_clinic(SCALE)) as pristine:
        yield Bench(server, pristine.extract_and_stage())


def main() -> int:
    """Search."""
    options = search_options("random-constraints", "Restore databases that are made up.", count=1_000).parse_args()
    with (
        temporary_stack([], parent=memory_folder()) as running,
        tempfile.TemporaryDirectory(prefix="random-constraints-") as folder,
        random_bench(LazyStack(running).postgresql, Path(folder)) as bench,
    ):
        search(examples(), bench.try_out, options, part=CHUNK, seen=lambda: str(dict(sorted(bench.seen.items()))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
