"""One reading of an export file in a process of its own: prints its rows, seconds, and megabytes at the peak as JSON.

    python benchmarks/from_filemaker/export_files.py ours|pandas FILE

Ours gives every record with all its fields, and its dates in ISO form. pandas gives a frame of text.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import NamedTuple

COLUMNS = ("id", "patient_id", "day", "kind", "note", "user", "changed", "number")
KINDS = ("Clinical notes", "Referral", "Workshop note", "Admin", "Order")
_DIFFERENT = 20_000  # lines that differ; a larger file repeats them


class OneReading(NamedTuple):
    """What a reading took."""

    rows: int
    seconds: float
    megabytes: float


def read_apart(who: str, path: Path) -> OneReading:
    """Read a file in a process of its own."""
    command = [sys.executable, __file__, who, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return OneReading(*json.loads(done.stdout))


def write_tab(path: Path, megabytes: float) -> None:
    """Write tab-separated text as FileMaker exports notes, with returns and letters beyond ASCII in them."""
    rng = random.Random(1)  # noqa: S311
    block = "".join("\t".join(_note(rng, number)) + "\r" for number in range(_DIFFERENT)).encode()
    whole, rest = divmod(int(megabytes * 1e6), len(block))
    with path.open("wb") as file:
        for _ in range(whole):
            file.write(block)
        file.write(block[: block.rfind(b"\r", 0, rest) + 1])


def write_workbook(path: Path, rows: int) -> None:
    """Write a workbook with a header, and cells that are dates and numbers."""
    import openpyxl  # noqa: PLC0415

    from fm_pipeline.filemaker.exports.dates import DateReader  # noqa: PLC0415

    rng, dates = random.Random(1), DateReader("mdy")  # noqa: S311
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Notes")
    sheet.append(list(COLUMNS))
    for number in range(rows):
        row: list[object] = [text.replace("\v", "\n") for text in _note(rng, number)]
        for at in (2, 6):
            row[at] = _moment(dates.convert([str(row[at])])[0])
        sheet.append([*row[:-1], number])
    book.save(path)


def _moment(text: str) -> object:
    from datetime import datetime  # noqa: PLC0415

    return datetime.fromisoformat(text)


def _note(rng: random.Random, number: int) -> list[str]:
    day = f"{rng.randrange(1, 13)}/{rng.randrange(1, 29)}/{rng.randrange(2010, 2026)}"
    clock = f"{rng.randrange(7, 19)}:{rng.randrange(60):02}:{rng.randrange(60):02}"
    ids = [str(uuid.UUID(int=rng.getrandbits(128))).upper() for _ in range(2)]
    note = "Seen for the fitting of the orthosis. " * rng.randrange(1, 6) + "\vCafé at three"
    return [*ids, day, rng.choice(KINDS), note, f"user {number % 7}", f"{day} {clock}", str(number)]


def _ours(path: Path) -> int:
    from fm_pipeline.filemaker.exports.options import ExportOptions  # noqa: PLC0415
    from fm_pipeline.filemaker.exports.table import ExportTable  # noqa: PLC0415

    columns = COLUMNS if path.suffix == ".tab" else ()
    known = frozenset(COLUMNS)
    options = ExportOptions(columns=columns, known=known, date_fields=frozenset({"day", "changed"}))
    return sum(1 for _ in ExportTable(path, options).records(COLUMNS))


def _pandas(path: Path) -> int:
    import pandas as pd  # noqa: PLC0415

    if path.suffix == ".xlsx":
        return len(pd.read_excel(path, engine="openpyxl", dtype=str, na_filter=False))
    return len(pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3, encoding="utf-8"))


def main() -> None:
    """Read once. The libraries are imported before the clock starts."""
    who, path = sys.argv[1], Path(sys.argv[2])
    if who == "pandas":
        import openpyxl  # noqa: F401, PLC0415
        import pandas as pd  # noqa: F401, PLC0415
    else:
        import python_calamine  # noqa: F401, PLC0415

        import fm_pipeline.filemaker.exports.table  # noqa: F401, PLC0415
    started = time.perf_counter()
    rows = {"ours": _ours, "pandas": _pandas}[who](path)
    seconds = time.perf_counter() - started
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([rows, seconds, megabytes]))  # noqa: T201


if __name__ == "__main__":
    main()
