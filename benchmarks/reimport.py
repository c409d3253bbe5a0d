"""The full reimport's database part: against the original sequence, its transaction against plain SQL, its growth.

    python benchmarks/reimport.py [--json FILE] [--rounds N] [--scale N]

Every round measures the ways one after the other, on fresh copies of the same databases; the medians count. The ways
must leave the same rows, or there is nothing to compare. docs/benchmarks.md says more.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psycopg2
from clinic_databases import Databases, LoggingPostgreSQL
from locked_time import locked_statements, replay, seconds_held
from results import Row, options, report
from row_by_row import RowByRow

from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.sandbox.clinic.generate import generate_clinic
from fm_pipeline.sandbox.nexus.digest import schema_digest
from fm_pipeline.sandbox.stack.stack import temporary_stack

GROWTH = 10
PAIRS = 3  # of the locked times in a round: they are short, so that much else on the machine shows in them
STEPS = ("staging", "reimport")
# The loaded and relinked tables without ids of Nexus and times of the run, each with its patient: what must be equal.
_CONTENT = """
SELECT count(*), sum(hashtextextended(concat(to_jsonb(t)
    - '{{id,patient_id,object_id,content_type_id,created_at,updated_at}}'::text[]
    #- '{{filemaker_metadata,imported_at}}',
    p.filemaker_metadata ->> 'filemaker_id'), 0))
FROM {table} t LEFT JOIN patients p ON p.id = t.{patient}
"""
_PATIENT = {
    "patients": "id",
    "appointments": "patient_id",
    "notes": "patient_id",
    "sms_messages": "patient_id",
    "documents_document": "object_id",
    "images_batch": "object_id",
}


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the clinic; 1 is the real size")
    given = parser.parse_args()
    with temporary_stack([LoggingPostgreSQL]) as stack, TemporaryDirectory() as folder:
        measured = Measurements(Databases(stack.service(LoggingPostgreSQL)), Path(folder), given.scale)
        for _ in range(given.rounds):
            measured.take()
        report("reimport", measured.rows(), given.json)


class Measurements:
    """The databases, and what was measured with them."""

    def __init__(self, databases: Databases, folder: Path, scale: float) -> None:
        self._databases, self._folder = databases, folder
        clinic = generate_clinic(scale=scale)
        databases.make("clinic", clinic)
        self._row_by_row = RowByRow(clinic.expected("reset").tables)
        databases.make("large_clinic", generate_clinic(scale=scale * GROWTH))
        self._taken: dict[str, list[float]] = {}

    def take(self) -> None:
        """One round."""
        for _ in range(PAIRS):
            ours = self._take_locked()
        with self._databases.copy("clinic") as url, closing(psycopg2.connect(url)) as connection:
            started = time.perf_counter()
            self._row_by_row.run(connection)
            self._note("seeds ", {"all": time.perf_counter() - started})
            _refuse_different("the original sequence", ours, _content(url))
        with self._databases.copy("clinic") as url:
            self._note("after it: ", self._reimport(url, last_step="restaging"))
        with self._databases.copy("large_clinic") as url:
            self._note("large ", self._reimport(url))

    def _take_locked(self) -> dict[str, object]:
        """Our reimport, and its writing statements as plain SQL; returns what both left."""
        log = self._databases.server.data / "log" / "statements.json"
        with self._databases.copy("clinic", log_statements=True) as url:
            self._note("", self._reimport(url))
            statements = locked_statements(log, "clinic_copy")
            self._note("", {"locked": seconds_held(statements)})
            content, digests = _content(url), _digests(url)
        with self._databases.copy("clinic", log_statements=True) as url:
            self._reimport(url, last_step="plan")
            replay(url, statements)
            self._note("plain ", {"locked": seconds_held(locked_statements(log, "clinic_copy"))})
            _refuse_different("plain SQL", digests, _digests(url))
        return content

    def rows(self) -> list[Row]:
        """What it all means."""
        taken = {name: median(values) for name, values in self._taken.items()}
        ours, large = (sum(taken[size + step] for step in STEPS) for size in ("", "large "))
        for name, value in sorted(taken.items()):
            print(f"{name}: {value:.3f}", file=sys.stderr)  # noqa: T201
        return [
            Row("full reimport in the database, against row by row (s)", ours, taken["seeds all"], 30, "at_least"),
            Row("locks held, against plain SQL (s)", taken["locked"], taken["plain locked"], 1.5, "at_most"),
            Row(f"{GROWTH} times the rows, against once (s)", large, ours, 11, "at_most"),
            Row(
                "staging with 1 % changed, against all (s)",
                taken["after it: restaging 1 %"],
                taken["after it: restaging all"],
                0.25,
                "at_most",
            ),
            Row(
                f"most memory with {GROWTH} times the rows, against once (MB)",
                taken["large memory"],
                taken["memory"],
                1.5,
                "at_most",
            ),
        ]

    def _note(self, prefix: str, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._taken.setdefault(prefix + name, []).append(value)

    def _reimport(self, url: str, last_step: str = "reimport") -> dict[str, float]:
        """One reimport in a process of its own: seconds by step, and its `memory` in MB."""
        with TemporaryDirectory(dir=self._folder) as state_dir:
            command = [sys.executable, str(Path(__file__).with_name("one_reimport.py")), url, state_dir, last_step]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
        measured: dict[str, float] = json.loads(done.stdout)
        return measured


def _content(url: str) -> dict[str, object]:
    """Digests of the loaded and relinked tables, whatever ids their rows have."""
    with _cursor(url) as cursor:
        found: dict[str, object] = {}
        for table, patient in _PATIENT.items():
            cursor.execute(_CONTENT.format(table=table, patient=patient))
            found[table] = cursor.fetchone()
        return found


def _digests(url: str) -> dict[str, object]:
    """Digests of every table of Nexus."""
    with _cursor(url) as cursor:
        return dict(schema_digest(cursor, read_catalogue(cursor, "public")))


@contextmanager
def _cursor(url: str) -> Iterator[Any]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        yield cursor


def _refuse_different(other: str, ours: dict[str, object], theirs: dict[str, object]) -> None:
    """Raise SystemExit unless both ways left the same rows."""
    if different := sorted(table for table in ours if ours[table] != theirs[table]):
        sys.exit(f"Our way and {other} left different rows in {', '.join(different)}: there is nothing to compare.")


if __name__ == "__main__":
    main()
