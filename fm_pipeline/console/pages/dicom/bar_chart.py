"""Bar charts as SVG, drawn by the server: they need no script and no style, and print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WIDTH, HEIGHT, MARGIN, TOP = 600, 160, 24, 16
SIDE = 18  # half of a label may stand beside the first and the last bar
ROW, LABELS, NUMBERS = 26, 90, 70


@dataclass(frozen=True)
class Bar:
    """A bar with its places in the drawing. Numbers are texts, since a template would write 1,000."""

    label: str
    value: int
    x: str
    y: str
    width: str
    height: str
    text_x: str
    text_y: str
    shows_label: bool = True
    value_y: str = ""  # of the highest bar, where its number stands


@dataclass(frozen=True)
class BarChart:
    """A chart: `view_box` and bars."""

    view_box: str
    bars: list[Bar]


def columns(values: Mapping[str, int], *, label_every: int = 1) -> BarChart:
    """Return upright bars from left to right.

    Args:
        label_every: how many bars share a label, so that labels do not overlap.
    """
    highest, step = max([*values.values(), 1]), WIDTH / max(len(values), 1)
    bars = []
    for number, (label, value) in enumerate(values.items()):
        height = HEIGHT * value / highest
        x = step * number
        bars.append(
            Bar(
                label,
                value,
                *(f"{x + 1:.1f}", f"{TOP + HEIGHT - height:.1f}", f"{max(step - 2, 1):.1f}", f"{height:.1f}"),
                text_x=f"{x + step / 2:.1f}",
                text_y=str(TOP + HEIGHT + MARGIN - 8),
                value_y=f"{TOP - 4}" if value == highest else "",
                shows_label=(len(values) - 1 - number) % label_every == 0,
            )
        )
    return BarChart(f"{-SIDE} 0 {WIDTH + 2 * SIDE} {TOP + HEIGHT + MARGIN}", bars)


def rows(values: Mapping[str, int]) -> BarChart:
    """Return lying bars from top to bottom, with room for labels and numbers."""
    highest, room = max([*values.values(), 1]), WIDTH - LABELS - NUMBERS
    bars = []
    for number, (label, value) in enumerate(values.items()):
        width, y = max(room * value / highest, 1.0), ROW * number
        place = (str(LABELS), str(y), f"{width:.1f}", str(ROW - 6))
        bars.append(Bar(label, value, *place, text_x=f"{LABELS + width + 6:.1f}", text_y=str(y + ROW - 11)))
    return BarChart(f"0 0 {WIDTH} {max(ROW * len(values), 1)}", bars)
