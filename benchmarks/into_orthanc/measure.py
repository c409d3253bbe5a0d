"""Importing files of one size into a fresh Orthanc: ours, a bare loop that only posts, and the way of Orthanc's sample.

Each way runs in a process of its own, so that its memory can be measured, against an Orthanc and a ledger of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import psutil
from results import Row

from fm_pipeline.db.migrate import migrate
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.processes import find
from fm_pipeline.sandbox.stack.stack import temporary_stack
from into_orthanc.ways import THREADS

BENCHMARKS = Path(__file__).parents[1]
ROWS = ("large", "pinned", "small", "far", "memory")
FILES, LARGE, SMALL = 600, 512 << 10, 8 << 10
MANY_TIMES, MANY = 4, 6_000  # small files: so many times FILES, and for the memory of a worker
MEMORY_LIMIT_MB, GROWTH_LIMIT_MB = 200, 50
LINK_MILLISECONDS = 20  # each way
NOT_ASKED = ("FILEMAKER_DATABASE", "FILEMAKER_USERNAME", "FILEMAKER_PASSWORD")
Note = Callable[[str], object]


def import_rows(only: Container[str], *, scale: float, rounds: int, note: Note = lambda _: None) -> list[Row]:
    """The rows of the import: seconds for all files, the median of some rounds; and the memory that ours had.

    Args:
        only: of `ROWS`.
        scale: 1 is `FILES` large files.
        note: told what each way took, with its peak memory, and the CPU time that it and its Orthanc needed.
    """
    files = max(8, int(FILES * scale))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        large, small = Path(name) / "large", Path(name) / "small"
        if "large" in only or "pinned" in only:
            write_series(large, files, LARGE)
        if "small" in only or "far" in only:
            write_series(small, files * MANY_TIMES, SMALL)
        if "large" in only:
            rows += _large_rows(large, files, rounds, note)
        if "pinned" in only and len(os.sched_getaffinity(0)) > 1:
            pinned = compared(["ours", "bare"], large, rounds, note, pinned=True)
            rows.append(pinned.row("bare", "a bare loop, Orthanc on a core of its own", 1.0))
        if "small" in only:
            near = compared(["ours", "bare"], small, rounds, note)
            rows.append(near.row("bare", f"a bare loop of {THREADS} threads", 1.6))
        if "far" in only:
            far = compared(["ours", "sample"], small, 1, note, milliseconds=LINK_MILLISECONDS)
            rows.append(far.row("sample", f"one connection per file, {LINK_MILLISECONDS} ms away", 15))
    if "memory" in only:
        rows.append(_growth_row(max(48, int(MANY * scale))))
    return rows


def _large_rows(folder: Path, files: int, rounds: int, note: Note) -> list[Row]:
    shared = compared(["ours", "bare", "sample"], folder, rounds, note)
    hashing = median(_hashing(folder) for _ in range(max(3, rounds)))
    peak = shared.most("ours", "memory")
    return [
        shared.row("bare", f"a bare loop of {THREADS} threads", 0.92),
        shared.row("sample", "one connection per file", 3),
        Row(
            # `compare.py` finds the row of an earlier commit by this name
            "processor time of such a file, ms, against its MD5",
            shared.median("ours", "processor") / files * 1000,
            hashing / files * 1000,
            1.6,
            "at_most",
        ),
        Row("most memory of an import, MB, against its limit", peak, MEMORY_LIMIT_MB, 1, "at_most"),
    ]


def _growth_row(files: int) -> Row:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "many"
        write_series(folder, files, SMALL)
        grown = _in_a_process("ours", folder, after=files // 6)["growth"]
    what = f"memory that grows over {files} small files after the first sixth, MB, against its limit"
    return Row(what, max(grown, 0.01), GROWTH_LIMIT_MB, 1, "at_most")


class Compared:
    """Ways that were measured in turn: for each, the measurements of all rounds."""

    def __init__(self, what: str, files: int, measured: dict[str, list[dict[str, float]]]) -> None:
        self._what, self._files, self._measured = what, files, measured

    def median(self, way: str, of: str) -> float:
        return median(each[of] for each in self._measured[way])

    def most(self, way: str, of: str) -> float:
        return max(each[of] for each in self._measured[way])

    def row(self, way: str, called: str, bound: float) -> Row:
        """Ours against another way, with the CPU time of both."""
        return Row(
            f"{self._what}, s, against {called}",
            self.median("ours", "seconds"),
            self.median(way, "seconds"),
            bound,
            "at_least",
            f"CPU time of a file, ms: ours {self._parts('ours')}, the other {self._parts(way)}",
        )

    def _parts(self, way: str) -> str:
        program, orthanc, ledger = (
            self.median(way, of) / self._files * 1000 for of in ("processor", "orthanc", "ledger")
        )
        return f"{program:.2f} and Orthanc's {orthanc:.2f}" + (
            f" and the ledger's {ledger:.2f}" if way == "ours" else ""
        )


def compared(
    ways: Sequence[str],
    folder: Path,
    rounds: int,
    note: Note,
    *,
    pinned: bool = False,
    milliseconds: float = 0,
    orthanc: type[OrthancService] = OrthancService,
) -> Compared:
    files = list(folder.iterdir())
    what = f"import of {len(files)} files of {round(files[0].stat().st_size / 1024)} KB"
    measured: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways if number % 2 else reversed(ways):
            took = _in_a_process(way, folder, pinned=pinned, milliseconds=milliseconds, kind=orthanc)
            measured[way].append(took)
            note(
                f"{way}, {what}: {len(files) / took['seconds']:.0f} files/s, {took['memory']:.0f} MB at most; processor"
                f" time of a file {took['processor'] / len(files) * 1000:.2f} ms,"
                f" and Orthanc's {took['orthanc'] / len(files) * 1000:.2f} ms"
            )
    return Compared(what, len(files), measured)


def _hashing(folder: Path) -> float:
    """Processor seconds for the MD5 of all files."""
    contents = [path.read_bytes() for path in folder.iterdir()]
    started = time.process_time()
    for content in contents:
        hashlib.md5(content, usedforsecurity=False).hexdigest()
    return time.process_time() - started


def _in_a_process(
    way: str,
    folder: Path,
    *,
    pinned: bool = False,
    milliseconds: float = 0,
    after: int = 0,
    kind: type[OrthancService] = OrthancService,
) -> dict[str, float]:
    with _servers(kind) as (environment, orthanc, ledger):
        cores = sorted(os.sched_getaffinity(0))
        own = cores[:1] if pinned else cores
        if pinned:  # Orthanc and all its threads on one core; the program and the ledger on another
            _pin(orthanc, cores[1])
            for process in (ledger, *ledger.children(recursive=True)):
                process.cpu_affinity(own)
        with _link(environment, milliseconds):
            command = [sys.executable, "-m", "into_orthanc.ways", way, str(folder), str(after)]
            before = _processor(orthanc), _processor(ledger)
            with subprocess.Popen(command, env=environment, cwd=BENCHMARKS, stdout=subprocess.PIPE) as program:  # noqa: S603
                psutil.Process(program.pid).cpu_affinity(own)
                said = program.communicate()[0]
            if program.returncode:
                raise SystemExit(f"{way} failed.")
        measured: dict[str, float] = json.loads(said)
        orthancs, ledgers = _processor(orthanc) - before[0], _processor(ledger) - before[1]
        return {**measured, "orthanc": orthancs, "ledger": ledgers}


def _pin(process: psutil.Process, core: int) -> None:
    for thread in process.threads():
        os.sched_setaffinity(thread.id, [core])


def _processor(process: psutil.Process) -> float:
    """Processor seconds of a process and of its children, ended ones too."""
    times = process.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in process.children():
        with suppress(psutil.NoSuchProcess):
            total += sum(child.cpu_times()[:2])
    return total


@contextmanager
def _link(environment: dict[str, str], milliseconds: float) -> Iterator[None]:
    """Put the servers far away, for the duration of the block."""
    if not milliseconds:
        yield
        return
    near = environment["ORTHANC_URL"]
    command = [sys.executable, str(Path(__file__).with_name("far_away.py")), urlsplit(near).netloc, str(milliseconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as link:  # noqa: S603
        try:
            port = int(link.stdout.readline()) if link.stdout else 0
            environment["ORTHANC_URL"] = f"http://127.0.0.1:{port}"
            yield
        finally:
            link.kill()


@contextmanager
def _servers(kind: type[OrthancService]) -> Iterator[tuple[dict[str, str], psutil.Process, psutil.Process]]:
    """A fresh Orthanc and a fresh ledger: their settings, and their processes."""
    with temporary_stack([PostgreSQLService, kind]) as stack:
        settings = stack.environment()
        migrate(settings["NEXUS_DATABASE_URL"])
        nobody = {"FILEMAKER_URL": "http://127.0.0.1:1", **dict.fromkeys(NOT_ASKED, "none")}
        orthanc, ledger = (find(stack.service(of).record()) for of in (kind, PostgreSQLService))
        if orthanc is None or ledger is None:
            raise SystemExit("A server has ended.")
        yield os.environ | settings | nobody, orthanc, ledger
