"""What every way into a FileMaker file offers to those who read records: the Data API, OData, a folder of exports.

A door calls tables what its interface has: layouts, table occurrences, or files. Records come in one form, whatever the
door: that of `fm_pipeline.filemaker.model`, with ISO dates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self, TypeVar

from fm_pipeline.filemaker.model import Field, FileMakerRecord, Page

DoorKind = Literal["data_api", "odata", "exports"]
TABLE_WORDS: Mapping[DoorKind, str] = {
    "data_api": "layout",
    "odata": "table occurrence",
    "exports": "export file",
}
Progress = Callable[[int, int], None]
"""(rows so far, found count)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading:
    """What is to be read from a table.

    Attributes:
        fields: those that are needed; others may come too.
        page_size: maximum number of records asked for at once, where that can be chosen.
        on_progress: called now and then.
    """

    table: str
    fields: Sequence[Field]
    page_size: int = 1000
    on_progress: Progress | None = None


class Door(Protocol):
    """One way to read a FileMaker file. Use it in a `with` block.

    Attributes:
        source: what is read, for the record of an extraction: address and file, without an account.

    Raises:
        FileMakerError: from every method but `close`; its leaves say what to do.
    """

    @property
    def kind(self) -> DoorKind:
        """Which of the doors it is."""

    @property
    def source(self) -> str:
        """See the class."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """End the session, if there is one. A failure is not an error."""

    def version(self) -> str:
        """Return the version of the server; empty if it is unknown, or there is no server."""

    def tables(self) -> list[str]:
        """Return the names of all tables that can be seen."""

    def fields(self, table: str) -> list[Field]:
        """Return the fields of a table."""

    def sample(self, table: str, fields: Sequence[Field]) -> Page:
        """Return the first record, if there is one, and the number of all. Other fields may come too."""

    def read(self, reading: Reading, consume: Callable[[Iterator[FileMakerRecord]], T]) -> T:
        """Pass every record of a table to `consume`, exactly once, or fail.

        Args:
            consume: takes all records. If the table changed during the reading, it is called again and must discard
                the result of the earlier call. It must not catch errors of the iterator.

        Returns:
            The result of the last call of `consume`.

        Raises:
            ChangedWhileReading: it cannot be proved that every record was read once.
        """
