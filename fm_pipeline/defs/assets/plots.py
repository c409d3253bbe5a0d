"""Pictures for the Dagster UI, as Markdown: bars of text in a table, and numbers that the UI plots over runs by itself.

Seen in the UI of Dagster 1.13: Markdown tables and images from data URIs are shown, HTML and SVG inside Markdown are
dropped, and Markdown of 1,000 characters or more is only a link. Bars of text are short, can be searched, and are right
in the light and the dark theme.

The keys of numbers are stable: the UI draws one line a key over all runs, and a new name begins a new line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from fm_pipeline.entities.registry import Phase
from fm_pipeline.images.nexus.statistics import ImageStatistics
from fm_pipeline.nexus.reimport.report import ReimportReport, SourceOutcomes, patients_by

SHOWN_AT_ONCE = 999  # characters; with one more the UI shows a link instead
WIDTH = 30  # characters of the longest bar
NARROW = 12  # the same where names are long; the UI cuts off what does not fit into its column
SHORT = 8  # the same on the page of a plan, whose longest key leaves little room for values
# Tables whose names are too long for a narrow column, as the losses call them.
_SHORT = {"letters_patientletter": "letters", "sms_messages": "messages"}
# Unicode block elements U+2588 to U+258F: a full character and the eighths of one.
_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


def bar(value: float, longest: float, width: int = WIDTH) -> str:
    """A bar of text, to an eighth of a character; what is there is never shown as nothing."""
    if value <= 0 or longest <= 0:
        return ""
    eighths = max(round(value / longest * width * 8), 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8]


def bar_chart(
    head: Sequence[str], rows: Sequence[tuple[str, float]], shown: Callable[[float], str], width: int = WIDTH
) -> str:
    """A Markdown table: names, numbers, bars; what is too long for the UI is summed up in the last row.

    Args:
        head: what the names and the numbers are.
        rows: in the order in which they are shown.
        shown: writes a number.
        width: characters of the longest bar.

    Returns:
        Empty without rows.
    """
    if not rows:
        return ""
    longest = max(value for _, value in rows)
    top = [f"| {head[0]} | {head[1]} | |", "|---|---:|---|"]
    lines = [f"| {name} | {shown(value)} | {bar(value, longest, width)} |" for name, value in rows]
    chart, kept = "\n".join(top + lines), len(lines)
    while len(chart) > SHOWN_AT_ONCE:
        kept -= 1
        rest = f"| and {len(rows) - kept} more | {shown(sum(value for _, value in rows[kept:]))} | |"
        chart = "\n".join([*top, *lines[:kept], rest])
    return chart


def phase_seconds(report: ReimportReport) -> str:
    """How long each phase held the locks."""
    names = {int(phase): phase.name.lower() for phase in Phase}
    rows = [(f"{record.phase} {names[record.phase]}", record.seconds) for record in report.phases]
    return bar_chart(("phase", "seconds"), rows, "{:.2f}".format)


def not_loaded_by_rule(sources: Sequence[SourceOutcomes]) -> str:
    """Source rows that are quarantined or skipped, by entity (if there are several) and rule; most first."""
    rows = [
        (f"{ends.entity}: {rule}" if len(sources) > 1 else rule, rows)
        for ends in sources
        for rule, rows in ends.by_rule.items()
    ]
    rows.sort(key=lambda row: (-row[1], row[0]))
    return bar_chart(("not loaded because of", "rows"), rows, "{:,.0f}".format, SHORT) or "Every row is loaded."


def images_by_year(statistics: ImageStatistics) -> str:
    """How many images Nexus has of each year."""
    return bar_chart(("year", "images"), list(statistics.by_year.items()), "{:,.0f}".format, NARROW)


def images_by_category(statistics: ImageStatistics) -> str:
    """How many images Nexus has of each category that several patients have in common."""
    rows = [(_cell(name), number) for name, number in statistics.by_category.items()]
    return bar_chart(("category", "images"), rows, "{:,.0f}".format, NARROW)


def containers_used(counts: Mapping[str, int]) -> str:
    """How many images came from which container, and their share of all."""
    total = sum(counts.values())
    rows = [(f"{_cell(name)} ({number / total:.1%})", number) for name, number in counts.items() if total]
    return bar_chart(("container", "images"), rows, "{:,.0f}".format, NARROW)


def _cell(text: str) -> str:
    """Text of a user, as it is, in a cell of a Markdown table."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return re.sub(r"([\\`*_\[\]<>|~&$])", r"\\\1", shown)


def changes_by_table(report: ReimportReport) -> str:
    """What is (or would be) deleted, inserted and changed of each Nexus table; short enough for the UI.

    The numbers add up to the report's `changed_rows`. Four columns are what the UI shows whole on a screen that is 1280
    pixels wide; the report has the other numbers.
    """
    would = "were" if report.committed else "would be"
    lines = [f"| rows that {would} | deleted | new | changed |", "|---|---:|---:|---:|"]
    for change in report.tables.values():
        numbers = (change.deleted, change.inserted, change.updated)
        lines.append(
            f"| {_SHORT.get(change.table, change.table)} | " + " | ".join(f"{each:,}" for each in numbers) + " |"
        )
    for name, files in (("documents", report.documents), ("image batches", report.batches)):
        if files and (files.relinked or files.settled):
            lines.append(f"| {name}, relinked | 0 | 0 | {files.relinked + files.settled:,} |")
    if rows := sum(int(reference["repointed"]) + int(reference["set_to_null"]) for reference in report.references):
        lines.append(f"| references in other tables | 0 | 0 | {rows:,} |")
    return "\n".join(lines)


def losses_on_top(report: ReimportReport) -> str:
    """What is (or would be) lost, a line each; short enough for the UI, which shows it before everything else."""
    sentences = report.losses
    shown = len(sentences)
    text = "\n".join(f"- {sentence}" for sentence in sentences)
    while len(text) > SHOWN_AT_ONCE:
        shown -= 1
        more = f"- and {len(sentences) - shown} more; the whole report below has all of them"
        text = "\n".join([*(f"- {sentence}" for sentence in sentences[:shown]), more])
    return text


def patients_on_page(report: ReimportReport) -> dict[str, str]:
    """Patients by clinic and by funding source, before and after, each short enough for the UI."""
    charts = {f"patients_by_{kind}": patients_by(report, kind) for kind in ("clinic", "funding")}
    return {name: chart for name, chart in charts.items() if 0 < len(chart) <= SHOWN_AT_ONCE}


def rows_by_table(report: ReimportReport) -> dict[str, int]:
    """Rows of each Nexus table afterwards, one number each, which the UI plots over runs."""
    return {f"rows_{change.table}": change.after for change in report.tables.values()}
