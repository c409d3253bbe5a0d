"""What every door gives: fields of a table, records, pages of records; in the form of the Data API."""

from __future__ import annotations

from dataclasses import dataclass, field

from fm_pipeline.pluralize import counted

Value = str | int | float
"""The value of a field in the Data API. An empty field of any type is `""`; a container is a URL."""

GROUP_SEPARATOR = "\x1d"  # between the repetitions of a field in an export: Claris help, "Tab-separated text"
LARGEST_FILE = 200 * 1024 * 1024  # bytes, in a container; a photograph has 3 MB, a scanned TIFF 100
MOST_REPETITIONS = 32_000  # of a field: FileMaker Pro, "Setting up repeating fields"


@dataclass(frozen=True, slots=True)
class Field:
    """A field on a layout (Data API Guide, "Get layout metadata").

    `most_repetitions` is how many the field has in its table, where the door says so; those off the layout do not come.
    """

    name: str
    kind: str  # normal, calculation, summary
    result: str  # text, number, date, time, timeStamp, container
    repetitions: tuple[int, ...] = (1,)  # those on the layout; several come as name(1), name(2) ...
    most_repetitions: int = 1

    @property
    def has_hidden_repetitions(self) -> bool:
        """Whether repetitions of the field do not come."""
        return len(self.repetitions) < self.most_repetitions


@dataclass(slots=True)  # a frozen one takes three times as long to be made, and there are millions
class FileMakerRecord:
    """A record. `record_id` is FileMaker's internal id, `mod_id` counts its edits."""

    record_id: int
    mod_id: int
    fields: dict[str, Value] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of records in the order of the server, and the size of the whole found set.

    `in_table` is how many records the table has, also those that the account may not see; None if the door does not say
    that.
    """

    records: tuple[FileMakerRecord, ...]
    found_count: int
    in_table: int | None = None

    @property
    def hidden(self) -> str:
        """How many records of all that were asked for the account may not see, in words; empty if it may see all."""
        in_table = self.in_table or 0
        hidden = in_table - self.found_count
        return f"{hidden:,} of {counted(in_table, 'record')}" if hidden > 0 else ""
