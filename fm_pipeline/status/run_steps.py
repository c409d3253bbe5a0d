"""The steps of one run with the time left, measured by the run before it. Reads `fm_pipeline.progress` only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg2.extras import RealDictCursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import PREPARATION_STEP

_STEPS = """
    SELECT step AS name, done, total, errors, started_at, updated_at, finished_at
    FROM fm_pipeline.progress WHERE run_id = %s ORDER BY position
"""
_PLANS = "SELECT run_id FROM fm_pipeline.plans WHERE run_id <> %s ORDER BY created_at DESC LIMIT 1"
_REIMPORTS = "SELECT run_id FROM fm_pipeline.reimports WHERE run_id <> %s ORDER BY started_at DESC LIMIT 1"
_BEFORE = {"plan_reimport": (_PLANS,), "full_reimport": (_REIMPORTS, _PLANS)}

# What a step counts, by its name without "plan, ", "sync, " or "backup, ". Others count records of FileMaker.
_COUNTS = {
    **dict.fromkeys(("phase 2", "phase 3", "phase 4", "phase 5"), ("row", "rows")),
    "phase 6": ("document", "documents"),
    "phase 7": ("image batch", "image batches"),
    "phase 8": ("check", "checks"),
    **dict.fromkeys(("write", "read", "verify"), ("table", "tables")),
    **dict.fromkeys(("list the bulk dump", "import", "files"), ("file", "files")),
    **dict.fromkeys(
        ("check and copy images", "verify copies", "import images", "look at images", "make lost copies again"),
        ("image", "images"),
    ),
    **dict.fromkeys(("compare with Orthanc", "delete in Orthanc"), ("instance", "instances")),
}
# What a phase of the import sequence does, by its number. A transaction has the numbers 2 to 8; pages show the words
# only, so that nobody looks for the first two.
PHASES = {
    "2": "delete what FileMaker no longer has",
    "3": "load patients",
    "4": "load appointments",
    "5": "load notes and messages",
    "6": "re-link documents",
    "7": "re-link images",
    "8": "check the result",
}
_WORDS = {PREPARATION_STEP: "lock the tables, and compare"} | {f"phase {each}": words for each, words in PHASES.items()}
_CHANGES = [f"phase {each}" for each in "234567"]  # a plan rolls them back
_UNCOUNTED = ("restore", "write rows")  # it is done or not

MEASURED_SECONDS = 5.0  # the first records of a step say little about the others


@dataclass(frozen=True)
class StepState:
    """One step of a run.

    Attributes:
        total: None as long as it is not known.
        started_at: None for a step that is still to come, as the run before had it.
        seconds: that it has taken; of a step to come, what it took in the run before.
        seconds_left: estimated from what was done of the total; None if there is no total, or if the step has run for
            less than `MEASURED_SECONDS`. Of a step to come, what it took in the run before.
    """

    name: str
    done: int
    total: int | None
    errors: int
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True)
class RunSteps:
    """The steps of a run, and the estimated seconds until its end.

    The seconds are None if no run before it had steps, or as long as a step at work has no estimate.
    """

    steps: Sequence[StepState]
    seconds_left: float | None


def read_run_steps(database_url: str, run_id: str, job: str) -> RunSteps:
    """Return the steps that a run has begun, and those to come as the run before it had them.

    Args:
        job: its name in Dagster; it decides which run is the one before.

    Raises:
        DatabaseError: the database does not answer.
    """
    with connect(database_url) as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        if not has_table(cursor, "fm_pipeline.progress"):
            return RunSteps([], None)
        cursor.execute(_STEPS, (run_id,))
        begun = cursor.fetchall()
        before: dict[str, float] = {}
        for query in _BEFORE.get(job, ()):
            cursor.execute(query, (run_id,))
            if row := cursor.fetchone():
                cursor.execute(_STEPS, (row["run_id"],))
                before = {
                    each["name"].removeprefix("" if job == "plan_reimport" else "plan, "): _seconds(
                        each, each["updated_at"]
                    )
                    for each in cursor.fetchall()
                }
            if before:
                break
    now = datetime.now(UTC)
    steps = [_begun(row, now) for row in begun]
    measured = bool(begun) and all(step.seconds_left is not None for step in steps)
    names = {step.name for step in steps}
    steps += [
        StepState(name, 0, None, 0, None, None, seconds, seconds)
        for name, seconds in before.items()
        if name not in names
    ]
    left = sum(step.seconds_left or 0 for step in steps) if before and measured else None
    return RunSteps(steps, left)


def step_words(step: str) -> str:
    """Return the name of a step as pages show it, without numbers of phases. What a plan tries, it would do."""
    plain = step.removeprefix("plan, ").removeprefix("sync, ")
    words = _WORDS.get(plain, step)
    if step.startswith("plan, ") and plain in _CHANGES:
        words = f"would {words}"
    if words.startswith("stage "):
        words = f"check {words.removeprefix('stage ')}"
    return (words[:1].upper() + words[1:]).replace("_", " ")


def changes_nexus(step: str) -> bool:
    """Return whether a step of a reimport or a sync writes to Nexus, to be committed with all others or not at all."""
    return step.removeprefix("sync, ") in _CHANGES


def count_words(step: str, done: int, total: int | None = None) -> str:
    """Return how far a step is, as `3 of 12 tables`; empty before it has counted anything, and if it counts nothing.

    Args:
        step: its name.
        total: None if it is not known, or if the step has ended.
    """
    name = step.rpartition(", ")[2]
    if name in _UNCOUNTED or not (done or total):
        return ""
    words = _COUNTS.get(name, ("record", "records"))
    return f"{done:,} of {counted(total, *words)}" if total else counted(done, *words)


def _seconds(row: dict[str, object], until: datetime) -> float:
    started = row["started_at"]
    return max((until - started).total_seconds(), 0.0) if isinstance(started, datetime) else 0.0


def _begun(row: dict[str, object], now: datetime) -> StepState:
    ended = row["finished_at"]
    seconds = _seconds(row, ended if isinstance(ended, datetime) else now)
    done, total = int(str(row["done"])), row["total"]
    left: float | None = None
    if isinstance(ended, datetime):
        left = 0.0
    elif isinstance(total, int) and done and seconds >= MEASURED_SECONDS:
        left = seconds / done * max(total - done, 0)
    return StepState(
        str(row["name"]),
        done,
        total if isinstance(total, int) else None,
        int(str(row["errors"])),
        row["started_at"] if isinstance(row["started_at"], datetime) else None,
        ended if isinstance(ended, datetime) else None,
        seconds,
        left,
    )
