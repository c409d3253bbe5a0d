"""Lists for the administrator after a link: records that were not linked, files without a record, equal files.

The lists hold record ids, reasons, Nexus ids and S3 keys. A key of the bulk dump that is not a record id may
contain a name, so only the owner can read the files, and nothing of them is logged.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.errors import PipelineError
from fm_pipeline.folders import make_private_folder, whole_file
from fm_pipeline.images.exports.metadata_table import read_rejects
from fm_pipeline.images.exports.reader import Reject

if TYPE_CHECKING:
    from fm_pipeline.images.linking.steps import CopyReport, RowsReport

NOT_LINKED, WITHOUT_RECORD, SAME_BYTES = "not_linked.csv", "files_without_record.csv", "same_bytes.csv"
_NOT_LINKED_HEADER = ("line", "recid", "outcome", "reason")


def write_lists(folder: Path, rejects: Iterable[Reject], copied: CopyReport, rows: RowsReport | None = None) -> None:
    """Write the three lists.

    Args:
        rejects: rejected records of the export.
        rows: None before Nexus was written to, and in a dry run.

    Raises:
        PipelineError: they cannot be written.
    """
    with _explained(folder, "Nexus is unchanged." if rows is None else "The images are linked. Earlier lists stay."):
        _write_lists(folder, rejects, copied, rows)


def write_not_linked(folder: Path, cursor: Cursor) -> None:
    """Write the first list from the stored outcomes, after the rows: it has what the writer has refused, too.

    Raises:
        PipelineError: it cannot be written.
    """
    lines: list[tuple[object, ...]] = [(line, "", "rejected", reason) for line, reason in read_rejects(cursor)]
    cursor.execute(
        "SELECT '', recid, outcome, reason FROM fm_pipeline.image_metadata"
        " WHERE outcome IN ('skipped', 'error', 'left') ORDER BY outcome = 'left', outcome = 'error', recid"
    )
    lines += cursor.fetchall()
    with _explained(folder, "The images are linked. Earlier lists stay."):
        make_private_folder(folder)
        _write(folder / NOT_LINKED, _NOT_LINKED_HEADER, lines)


@contextmanager
def _explained(folder: Path, meaning: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PipelineError(
            f"The lists of what is not linked cannot be written ({error.strerror or type(error).__name__}).",
            meaning=meaning,
            remedy=f"Look at the room and the owner of {folder}. Then run it again: what is linked is recognised.",
        ) from None


def _write_lists(folder: Path, rejects: Iterable[Reject], copied: CopyReport, rows: RowsReport | None) -> None:
    make_private_folder(folder)
    plan = copied.plan
    lines: list[tuple[object, ...]] = [(line, "", "rejected", reason) for line, reason in rejects]
    for outcome, reasons in (
        ("skipped", plan.skipped | (rows.skipped if rows else {})),
        ("error", copied.errors | (rows.errors if rows else {})),
        ("left", dict.fromkeys(plan.left, "limit")),
    ):
        lines += [("", recid, outcome, reason) for recid, reason in sorted(reasons.items())]
    _write(folder / NOT_LINKED, _NOT_LINKED_HEADER, lines)
    _write(folder / WITHOUT_RECORD, ("key",), [(key,) for key in plan.without_record])
    groups = [
        (number, each.recid, each.patient.nexus_id)
        for number, group in enumerate(copied.same_bytes, start=1)
        for each in group
    ]
    _write(folder / SAME_BYTES, ("group", "recid", "patient"), groups)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with whole_file(path, errors="surrogatepass") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
