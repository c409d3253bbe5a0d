"""What the Data API sends, typed: fields of a layout, records, pages of records."""

from __future__ import annotations

from dataclasses import dataclass, field

Value = str | int | float
"""A field's value as the Data API has it. Empty is `""` for every type; containers are URLs."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field as it stands on a layout (Data API Guide, "Get layout metadata")."""

    name: str
    kind: str  # normal, calculation, summary
    result: str  # text, number, date, time, timeStamp, container
    repetitions: tuple[int, ...] = (1,)  # those on the layout; several come as name(1), name(2) ...


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `record_id` is FileMaker's own number of it, `mod_id` counts its edits."""

    record_id: int
    mod_id: int
    fields: dict[str, Value] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Some records in the server's order, and how many the whole found set has."""

    records: tuple[Record, ...]
    found_count: int
