"""The report of a reimport or a plan on the terminal, for 80 columns.

Asset metadata and files use Markdown instead (`ReimportReport.as_markdown`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from fm_pipeline.nexus.reimport.losses import NOTHING, losses, stays
from fm_pipeline.nexus.reimport.relink import REASONS
from fm_pipeline.pluralize import counted


def report_lines(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield what to print, in order.

    Args:
        report: `ReimportReport.as_dict()`.
    """
    done = bool(report["committed"])
    would = "" if done else "would be\n"
    for sentence in losses(report):
        yield Text(sentence, style="" if sentence == NOTHING[done] else "bold yellow")
    yield from map(Text, [*stays(report), *report.get("left_out", ())])
    yield ""
    yield _table(
        ("FileMaker records", "read", f"{would}loaded", "quarantined", "skipped"),
        [(e["entity"], e["source"], e["loaded"], e["quarantined"], e["skipped"]) for e in report["sources"]],
    )
    yield ""
    yield _table(
        ("Nexus table", "before", f"{would}deleted", "no id", f"{would}new", f"{would}changed", "equal", "after"),
        [
            (
                *(c["table"], c["before"], c["deleted"], c["without_filemaker_id"]),
                *(c["inserted"], c["updated"], c["unchanged"], c["after"]),
            )
            for c in report["tables"]
        ],
    )
    if any(change["without_filemaker_id"] for change in report["tables"]):
        yield Text("no id: those of the deleted rows that nothing links to FileMaker", style="dim")
    if report["references"]:
        yield ""
        yield _table(
            ("references in rows that stay", "to", f"{would}re-pointed", f"{would}set to NULL"),
            [(f"{r['table']}.{r['column']}", r["to"], r["repointed"], r["set_to_null"]) for r in report["references"]],
        )
    for kind in ("clinic", "funding"):
        if rows := [row for row in report["patients_by"] if row["by"] == kind]:
            yield ""
            yield _table(
                (f"patients by {kind}", "before", "after" if done else "would be"),
                [(row["name"], row["before"], row["after"]) for row in rows],
            )
    files = [(name.replace("_", " "), report[name]) for name in ("documents", "image_batches") if report[name]]
    if files:
        yield ""
        yield _table(
            ("files", "all", "already linked", f"{would}relinked", "no patient", "disagreeing"),
            [
                (
                    *(name, relinked["total"], relinked["already"], relinked["relinked"]),
                    *(sum(map(len, relinked["unresolved"].values())), len(relinked["disagreeing"])),
                )
                for name, relinked in files
            ],
        )
    for name, relinked in files:
        for reason, ids in {**relinked["unresolved"], "disagrees": relinked["disagreeing"]}.items():
            if ids:
                yield Text(f"{name}: {len(ids):,}, because {REASONS[reason]}")
    for sentence in report.get("restore", ()):
        yield Text(f"Restore: {sentence}")
    yield from _checks(report["checks"])


def _checks(checks: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Yield one line if all checks hold, otherwise those that failed; the report's files list each of them."""
    yield ""
    failed = [check for check in checks if not check["holds"]]
    for check in failed:
        yield Text(f"❌ {check['name']}: {check['found']}", style="bold red")
    if not failed:
        yield Text(f"✅ All {counted(len(checks), 'check')} of the result hold.")


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table: names on the left, numbers with thousands separators on the right; long names are folded."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for number, title in enumerate(head):
        table.add_column(title, justify="right" if number else "left", no_wrap=bool(number), overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return table
