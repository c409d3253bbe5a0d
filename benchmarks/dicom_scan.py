"""What it costs to see that nothing is new: the full scan against a bare walk, and a tick of the sensor.

The trees are real, with empty files: what counts is that the disk is asked for every one of them.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psycopg2
from results import Row

from fm_pipeline.db.migrate import migrate
from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.paths import path_hash
from fm_pipeline.dicom.scan.walk import scan
from fm_pipeline.dicom.watch.new_files import NewFiles
from fm_pipeline.dicom.watch.poll import poll
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.stack import temporary_stack

SCANNED_FILES, SCANNED_DIRECTORIES = 100_000, 1_000
WATCHED_FILES, WATCHED_DIRECTORIES = 1_000_000, 10_000
TICK_LIMIT_SECONDS = 60.0  # Dagster's
TICK_BOUND = 10 / TICK_LIMIT_SECONDS
MEMORY_LIMIT_MB = 300.0
_LATER = timedelta(hours=1)  # the tree is younger than any quiet period


def scan_rows(scale: float, rounds: int) -> list[Row]:
    """The rows of the full scan and of the tick.

    Args:
        scale: 1 is the size that the names say.
    """
    with temporary_stack([PostgreSQLService]) as stack, TemporaryDirectory(prefix="dicom-scan-") as folder:
        url = stack.service(PostgreSQLService).settings()["NEXUS_DATABASE_URL"]
        migrate(url)
        return [
            _full_scan(url, Path(folder) / "scanned", scale, rounds),
            *_ticks(url, Path(folder) / "watched", scale, rounds),
        ]


def _full_scan(url: str, root: Path, scale: float, rounds: int) -> Row:
    files = _make_tree(root, int(SCANNED_FILES * scale), max(1, int(SCANNED_DIRECTORIES * scale)))
    _make_known(url, root)
    _scan(url, root)  # the first scan after an import looks into history once
    ours, against = [], []
    for _ in range(rounds):
        against.append(_seconds_of_a_bare_walk(root, files))
        started = time.perf_counter()
        found, unchanged = _scan(url, root)
        ours.append(time.perf_counter() - started)
        if (found, unchanged) != (0, files):
            raise SystemExit(f"The scan found {found} new and {unchanged} known files of {files}.")
    return Row("scan of 100,000 known files, nothing new (s)", median(ours), median(against), 2.0, "at_most")


def _ticks(url: str, root: Path, scale: float, rounds: int) -> list[Row]:
    files = _make_tree(root, int(WATCHED_FILES * scale), max(1, int(WATCHED_DIRECTORIES * scale)))
    _make_known(url, root)
    if _scan(url, root) != (0, files):
        raise SystemExit("The history does not have the tree's files.")
    seconds, megabytes = [], []
    for _ in range(rounds):
        command = [sys.executable, __file__, url, str(root)]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603
        if not answer["complete"] or answer["new"] or answer["asked"] != _directories(root):
            raise SystemExit(f"The tick did not see that nothing is new: {answer}")
        seconds.append(answer["seconds"])
        megabytes.append(answer["megabytes"])
    of = "a sensor tick on 1,000,000 known files in 10,000 directories"
    return [
        Row(f"{of}, against its limit (s)", median(seconds), TICK_LIMIT_SECONDS, TICK_BOUND, "at_most"),
        Row("its peak memory, against what it may take (MB)", max(megabytes), MEMORY_LIMIT_MB, 1.0, "at_most"),
    ]


def _one_tick(url: str, root: str) -> None:
    """In a process of its own, because of its memory."""
    with closing(psycopg2.connect(url)) as connection:
        started = time.perf_counter()
        result = poll(connection, root, now=datetime.now(UTC) + _LATER, quiet_seconds=30, time_budget=50)
        seconds = time.perf_counter() - started
    print(  # noqa: T201
        json.dumps(
            {
                "seconds": seconds,
                "megabytes": _peak_megabytes(),
                "complete": result.complete,
                "asked": result.directories_asked,
                "new": len(result.new_files),
            }
        )
    )


def _peak_megabytes() -> float:
    """Of this program; `getrusage` would count what the process had before it became this one."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("This system does not tell a process's peak memory.")


def _scan(url: str, root: Path) -> tuple[int, int]:
    """How many files are new, and how many known."""
    with ReconnectingConnection(url) as database:
        scanning = NewFiles(database, str(root), now=datetime.now(UTC) + _LATER)
        found = sum(1 for _ in scanning)
        if not scanning.complete:
            raise SystemExit("The scan is not complete.")
        return found, scanning.unchanged_files


def _seconds_of_a_bare_walk(root: Path, files: int) -> float:
    started = time.perf_counter()
    seen = 0
    waiting = [str(root)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    seen += 1
    seconds = time.perf_counter() - started
    if seen != files:
        raise SystemExit(f"The walk saw {seen} of {files} files.")
    return seconds


def _make_tree(root: Path, files: int, directories: int) -> int:
    """Empty files, evenly in directories of two levels; how many."""
    for number in range(directories):
        folder = root / f"{number // 100:04}" / f"{number % 100:02}"
        folder.mkdir(parents=True)
        for index in range(files // directories):
            os.close(os.open(f"{folder}/IM{index:06}", os.O_CREAT | os.O_WRONLY))
    return files // directories * directories


def _directories(root: Path) -> int:
    return sum(1 for _ in os.walk(root))


def _make_known(url: str, root: Path) -> None:
    """History as if every file had been imported."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fm_pipeline.import_jobs (job_type, source_path, requested_by, status)"
            " VALUES ('initial', '/', 'benchmark', 'completed') RETURNING id"
        )
        ((job_id,),) = cursor.fetchall()
        lines = io.StringIO()
        for met in scan(str(root)):
            lines.write(
                f"{job_id}\t{met.path}\t{os.path.basename(met.path)}\t{path_hash(met.path)}\t{met.size}"  # type: ignore[union-attr]
                f"\t{met.modified_ns}\t{met.changed_ns}\timported\n"  # type: ignore[union-attr]
            )
        lines.seek(0)
        cursor.copy_expert(
            "COPY fm_pipeline.import_history (job_id, file_path, file_name, path_hash, file_size_bytes, modified_ns,"
            " changed_ns, status) FROM STDIN",
            lines,
        )
        cursor.execute("ANALYZE fm_pipeline.import_history")
        connection.commit()


if __name__ == "__main__":
    _one_tick(*sys.argv[1:])
