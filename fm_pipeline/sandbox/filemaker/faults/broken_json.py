"""Values that make the JSON of an answer invalid every time it is asked for, as clients of real servers report them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# What stands in the answer in place of the JSON value.
KINDS: Mapping[str, str] = {
    "question_mark": "?",  # a number or date field with a text that is neither
    "no_leading_zero": "-.5",
    "control_characters": '"first line\nsecond\tline\x0b"',
    "nul": '"a\x00b"',
}
# Private-use characters, which no test data contains: they survive the writing of JSON and are then replaced.
_MARKS = {kind: f"\uf8ff{kind}\uf8ff" for kind in KINDS}


def check(broken: Iterable[Mapping[str, Any]]) -> None:
    """Raise ValueError unless each entry is complete and of a known kind."""
    for one in broken:
        if not {"table", "record_id", "field", "as"} <= set(one) or one["as"] not in KINDS:
            raise ValueError(f"broken_values: each has table, record_id, field and as, which is one of {list(KINDS)}")


def marked(
    broken: Sequence[Mapping[str, Any]], door: str, table: str, record_id: int, cells: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the cells of a record with marks in place of the values that are broken."""
    kinds = {
        one["field"]: _MARKS[one["as"]]
        for one in broken
        if (one["table"], int(one["record_id"])) == (table, record_id) and one.get("door", door) == door
    }
    return {name: kinds.get(name, value) for name, value in cells.items()}


def spoil(text: str) -> str:
    """Return the JSON text with the broken values in place of their marks."""
    for kind, mark in _MARKS.items():
        text = text.replace(f'"{mark}"', KINDS[kind])
    return text
