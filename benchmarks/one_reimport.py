"""One reimport from extracted records, in a process of its own, so that its memory can be measured.

Prints one JSON object: the seconds of each step, its CPU time in this process (`staging cpu`), and `memory`, the
most that this process had (resident, MB).
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2

from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.sequence.reimport import make_plan, reimport
from fm_pipeline.settings import Settings
from fm_pipeline.staging.parallel import stage_all

NOW = datetime(2025, 11, 20, 3, 0, tzinfo=UTC)
ACTOR = "benchmark"


def main(database_url: str, state_dir: str, last_step: str) -> None:
    """Stage and plan; then, unless `last_step` is `plan`, back up and reimport; for `restaging` stage twice more."""
    given: dict[str, Any] = {
        "_env_file": None,
        "nexus_database_url": database_url,
        "nexus_only_columns": "reset",  # as the original sequence does
        "state_dir": Path(state_dir),
        "filemaker_url": "http://127.0.0.1",  # FileMaker is not asked for anything
        **dict.fromkeys(("filemaker_database", "filemaker_username", "filemaker_password"), "none"),
    }
    settings = Settings(**given)
    measured: dict[str, float] = {}
    with timed(measured, "staging"):
        stage_all(settings, run_id=None, now=NOW)
    with timed(measured, "plan"):
        plan = make_plan(settings, now=NOW, actor=ACTOR)
    if last_step != "plan":
        with timed(measured, "backup"):
            make_backup(settings, now=NOW, actor=ACTOR)
        with timed(measured, "reimport"):
            reimport(settings, now=NOW, permission=Permission(plan.id, plan.confirmation, ACTOR))
    if last_step == "restaging":
        with timed(measured, "restaging all"):
            stage_all(settings, run_id=None, now=NOW, only_changed=False)
        change_one_percent(database_url)
        with timed(measured, "restaging 1 %"):
            stage_all(settings, run_id=None, now=NOW)
    json.dump(measured | {"memory": peak_memory_mb()}, sys.stdout)


@contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Note how long the block took, and its CPU time."""
    started, busy = time.perf_counter(), time.process_time()
    yield
    seconds[step] = time.perf_counter() - started
    seconds[f"{step} cpu"] = time.process_time() - busy


def change_one_percent(database_url: str) -> None:
    """Change each hundredth record of every entity, as an extraction would bring it."""
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE fm_pipeline.source_records SET fields = (left(fields::text, -1) || ', \"edited\": 1}')::json"
            " WHERE record_id % 100 = 1"
        )
        connection.commit()


def peak_memory_mb() -> float:
    """The most that this process had in memory. (getrusage would tell the parent's peak if that was higher.)"""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
