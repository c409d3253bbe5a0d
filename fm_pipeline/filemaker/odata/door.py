"""OData as a door: its tables are table occurrences of the relationship graph, not layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Self, TypeVar

from fm_pipeline.filemaker.door import DoorKind, Reading
from fm_pipeline.filemaker.errors import FieldMissing
from fm_pipeline.filemaker.model import Field, FileMakerRecord, Page
from fm_pipeline.filemaker.odata.client import ODataClient
from fm_pipeline.filemaker.odata.errors import TableNotReadable
from fm_pipeline.filemaker.odata.metadata import Metadata
from fm_pipeline.filemaker.odata.paging import first_record, read_completely

T = TypeVar("T")


class ODataDoor:
    """Reads table occurrences through a client. See `fm_pipeline.filemaker.door.Door`.

    Args:
        client: closed with the door.
    """

    kind: Final[DoorKind] = "odata"

    def __init__(self, client: ODataClient) -> None:
        self.client = client
        self.source = client.source
        self._described: Metadata | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.client.close()

    def version(self) -> str:
        """Return the version of the OData engine, which is that of FileMaker Server."""
        return self._metadata().version

    def tables(self) -> list[str]:
        """Return the names of all table occurrences that are listed."""
        return self.client.tables()

    def fields(self, table: str) -> list[Field]:
        """Return the fields of a table occurrence.

        Raises:
            TableNotReadable: the file's description does not have it.
        """
        described = self._metadata().tables.get(table)
        if described is None:
            raise TableNotReadable(f"FileMaker lists the table occurrence {table}, but does not describe it.")
        return list(described.fields)

    def sample(self, table: str, fields: Sequence[Field]) -> Page:
        """Return the first record and the number of all. It is read as `read` does, so that it fails as that would."""
        _require_no_container(table, fields)
        return Page(first_record(self.client, table, fields), self.client.count(table))

    def read(self, reading: Reading, consume: Callable[[Iterator[FileMakerRecord]], T]) -> T:
        """Read a table occurrence completely; see `paging`."""
        _require_no_container(reading.table, reading.fields)
        return read_completely(self.client, reading, consume)

    def _metadata(self) -> Metadata:
        if self._described is None:
            self._described = self.client.metadata()
        return self._described


def _require_no_container(table: str, fields: Sequence[Field]) -> None:
    """Raise FieldMissing for a container: rows never have it, so that it would be taken for empty."""
    for field in fields:
        if field.result == "container":
            raise FieldMissing(f"The field {field.name} of {table} is a container, which OData leaves out of rows.")
