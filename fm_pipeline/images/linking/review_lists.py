"""Lists for the administrator after a link: records that were not linked, files without a record, equal files.

The lists hold record ids, reasons, Nexus ids and S3 keys. A key of the bulk dump that is not a record id may
contain a name, so only the owner can read the files, and nothing of them is logged.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from fm_pipeline.folders import make_private_folder
from fm_pipeline.images.exports.reader import Reject
from fm_pipeline.images.linking.steps import CopyReport, RowsReport

NOT_LINKED, WITHOUT_RECORD, SAME_BYTES = "not_linked.csv", "files_without_record.csv", "same_bytes.csv"


def write_lists(folder: Path, rejects: Iterable[Reject], copied: CopyReport, rows: RowsReport | None = None) -> None:
    """Write the three lists.

    Args:
        rejects: rejected records of the export.
        rows: None before Nexus was written to, and in a dry run.
    """
    make_private_folder(folder)
    plan = copied.plan
    lines: list[tuple[object, ...]] = [(line, "", "rejected", reason) for line, reason in rejects]
    for outcome, reasons in (
        ("skipped", plan.skipped | dict(rows.refused if rows else {})),
        ("error", plan.errors | dict(copied.failed)),
        ("left", dict.fromkeys(plan.left, "limit")),
    ):
        lines += [("", recid, outcome, reason) for recid, reason in sorted(reasons.items())]
    _write(folder / NOT_LINKED, ("line", "recid", "outcome", "reason"), lines)
    _write(folder / WITHOUT_RECORD, ("key",), [(key,) for key in plan.without_record])
    groups = [
        (number, each.recid, each.patient.nexus_id)
        for number, group in enumerate(copied.same_bytes, start=1)
        for each in group
    ]
    _write(folder / SAME_BYTES, ("group", "recid", "patient"), groups)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    with open(path, "w", encoding="utf-8", errors="surrogatepass", newline="", opener=opener) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
