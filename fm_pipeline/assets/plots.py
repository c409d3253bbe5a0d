"""Pictures for the Dagster UI, as Markdown: bars of text in a table, and numbers that the UI plots over runs by itself.

The UI (1.13) renders Markdown tables and images from data URIs; HTML and SVG inside Markdown it drops. Bars of text are
searchable, right in the light and the dark theme, and a kilobyte: event logs are kept for ever.

The keys of numbers are stable: the UI draws one line a key over all runs, and a new name begins a new line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fm_pipeline.nexus.policy import Phase
from fm_pipeline.nexus.report import ReimportReport, SourceEnds

WIDTH = 30  # characters of the longest bar
# Unicode block elements U+2588 to U+258F: a full character and the eighths of one.
_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


def bar(value: float, longest: float) -> str:
    """A bar of text, to an eighth of a character; what is there is never shown as nothing."""
    if value <= 0 or longest <= 0:
        return ""
    eighths = max(round(value / longest * WIDTH * 8), 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8]


def bar_chart(head: Sequence[str], rows: Sequence[tuple[str, float]], shown: Callable[[float], str]) -> str:
    """A Markdown table: names, numbers, bars.

    Args:
        head: what the names and the numbers are.
        rows: in the order in which they are shown.
        shown: writes a number.

    Returns:
        Empty without rows.
    """
    if not rows:
        return ""
    longest = max(value for _, value in rows)
    lines = [f"| {head[0]} | {head[1]} | |", "|---|---:|---|"]
    lines += [f"| {name} | {shown(value)} | {bar(value, longest)} |" for name, value in rows]
    return "\n".join(lines)


def phase_seconds(report: ReimportReport) -> str:
    """How long each phase held the locks."""
    names = {int(phase): phase.name.lower() for phase in Phase}
    rows = [(f"{record.phase} {names[record.phase]}", record.seconds) for record in report.phases]
    return bar_chart(("phase", "seconds"), rows, "{:.2f}".format)


def not_loaded_by_rule(sources: Iterable[SourceEnds]) -> str:
    """Source rows that are quarantined or skipped, by entity and the rule that decided; most first."""
    rows = [(f"{ends.entity}: {rule}", rows) for ends in sources for rule, rows in ends.by_rule.items()]
    return (
        bar_chart(("not loaded because of", "rows"), sorted(rows, key=lambda row: (-row[1], row[0])), "{:,.0f}".format)
        or "Every row is loaded."
    )


def table_numbers(report: ReimportReport) -> dict[str, int]:
    """Rows of each Nexus table and what was done to them, as numbers for the UI's plots over runs."""
    return {
        f"{change.table}/{name}": number
        for change in report.tables.values()
        for name, number in (
            ("rows", change.after),
            ("deleted", change.deleted),
            ("inserted", change.inserted),
            ("updated", change.updated),
        )
    }
