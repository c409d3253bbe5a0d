"""`fm-pipeline status`: where the newest run is, and what was done before."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from fm_pipeline.cli._shared.interrupts import restore_sigint
from fm_pipeline.cli._shared.json_output import json_option

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from fm_pipeline.settings import Settings
    from fm_pipeline.status.overview import Overview

EVERY_SECONDS = 1.0
# A step that goes on is written twice a second; the transaction has phases without news in between.
SILENT_SECONDS = 60
_SHORT = 8  # characters of an id: enough to tell the rows of a table apart; --json has all of them

MIN_WIDTHS = {"made": 10, "started": 10, "at": 10, "undone": 10}  # a date is not broken


@click.command(name="status")
@click.option("--watch", is_flag=True, help="Show it again every second, until Ctrl-C.")
@json_option("Print JSON instead of tables.")
def command(watch: bool, as_json: bool) -> None:
    """Show the progress of the newest run, and the last reimports, plans, backups and attempts.

    Reads counts and ids from the Nexus database; changes nothing.
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people and --json for programs; take one of them.")

    from rich.console import Console

    from fm_pipeline.settings import load_settings

    settings = load_settings()
    if as_json:
        click.echo(json.dumps(_read(settings), indent=2, default=datetime.isoformat))
        return
    console = Console()
    restore_sigint()
    with suppress(KeyboardInterrupt) if watch else nullcontext():
        console.print(_shown(_read(settings), settings))
        while watch:
            time.sleep(EVERY_SECONDS)
            overview = _shown(_read(settings), settings)
            console.clear()  # does nothing where the output is not a terminal
            console.print(overview)


def _read(settings: Settings) -> Overview:
    """Return the overview, with the folder of each backup as `fm-pipeline backup --list` shows it."""
    from fm_pipeline.nexus.backup.backup import folder_now
    from fm_pipeline.status.overview import read_overview

    overview = read_overview(settings.nexus_database_url.get_secret_value())
    for row in overview["backups"]:
        row["folder"] = str(folder_now(settings, row["folder"]))
    return overview


def _shown(overview: Overview, settings: Settings) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    if not any(overview.values()):
        return Text("The pipeline has done nothing in this database yet.")
    zone = ZoneInfo(settings.clinic_time_zone)
    return Group(_progress(overview, zone), *_history(overview, zone))


def _progress(overview: Overview, zone: ZoneInfo) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    steps = overview["progress"]
    if not steps:
        return Text("No run has shown its progress yet.")
    table = _table(f"Run {steps[0]['run_id']}", "step", "", "records", "errors", "seconds", "left", "last news")
    for step in steps:
        total, done = step["total"], step["done"]
        ended = step["finished_at"] is not None
        silent = not ended and (datetime.now(zone) - step["updated_at"]).total_seconds() >= SILENT_SECONDS
        news = _time(step["updated_at"], zone)
        bar = ProgressBar(
            total=total or max(done, 1) if ended or total else None, completed=done or (1 if ended else 0), width=20
        )
        table.add_row(
            Text(step["step"]),
            bar,
            f"{done:,} of {total:,}" if total is not None else f"{done:,}",
            Text(f"{step['errors']:,}", style="red" if step["errors"] else ""),
            f"{step['seconds']:.1f}",
            # A run that failed, was cancelled or was killed has nothing left.
            f"{step['eta_seconds']:.0f} s" if step["eta_seconds"] is not None and not silent else "",
            Text(f"{news}, not ended", style="yellow") if silent else news,
        )
    return table


def _history(overview: Overview, zone: ZoneInfo) -> list[RenderableType]:
    from rich.text import Text

    undone = ["undone"] if any(row["undone_at"] for row in overview["reimports"]) else []
    tables = (
        _filled(
            _table("Reimports", "id", "started", "by", "rows changed", "seconds", "plan", "backup", "run", *undone),
            [
                (
                    _short(row["id"]),
                    _time(row["started_at"], zone),
                    row["requested_by"],
                    f"{row['changed_rows']:,}",
                    f"{row['seconds']:.1f}",
                    *(_short(row[name]) for name in ("plan_id", "backup_id", "run_id")),
                    *(_time(row["undone_at"], zone) if row["undone_at"] else "" for _ in undone),
                )
                for row in overview["reimports"]
            ],
        ),
        _filled(
            _table("Plans", "id", "made", "by", "changes", "carried out"),
            [
                (
                    row["id"],
                    _time(row["created_at"], zone),
                    row["requested_by"],
                    f"{row['changed_rows']:,}",
                    _carried_out(row, zone),
                )
                for row in overview["plans"]
            ],
        ),
        _filled(
            _table("Backups", "id", "made", "bytes", "encrypted", "folder"),
            [
                (
                    _short(row["id"]),
                    _time(row["created_at"], zone),
                    f"{row['bytes']:,}",
                    _yes(row["encrypted"]),
                    row["folder"],
                )
                for row in overview["backups"]
            ],
        ),
        _filled(
            _table("Attempts", "at", "by", "action", "outcome", "detail"),
            [
                (_time(row["at"], zone), row["actor"], row["action"], row["outcome"], _first_line(row["detail"]))
                for row in overview["attempts"]
            ],
        ),
    )
    return [part for table in tables if table.row_count for part in (Text(), table)]


def _filled(table: Table, rows: list[tuple[str, ...]]) -> Table:
    from rich.text import Text

    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # as it is: what people typed may look like rich's markup
    return table


def _first_line(text: str) -> str:
    first, _, more = text.partition("\n")
    return f"{first} …" if more else first


def _carried_out(plan: Mapping[str, Any], zone: ZoneInfo) -> str:
    if plan["undone_at"]:
        return f"yes; a restore has undone it {_time(plan['undone_at'], zone)}"
    return _yes(plan["carried_out"])


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        # An id or a folder that is cut is worth nothing.
        table.add_column(column, no_wrap=column == "id", overflow="fold", min_width=MIN_WIDTHS.get(column))
    return table


def _short(text: str | None) -> str:
    return (text or "-")[:_SHORT]


def _time(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"
