"""The Data API as a door: its tables are layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Self, TypeVar

from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.paging import read_completely
from fm_pipeline.filemaker.door import DoorKind, Reading
from fm_pipeline.filemaker.errors import RecordMissing
from fm_pipeline.filemaker.model import Field, FileMakerRecord, Page

T = TypeVar("T")


class DataApiDoor:
    """Reads layouts through a client. See `fm_pipeline.filemaker.door.Door`.

    Args:
        client: closed with the door.
    """

    kind: Final[DoorKind] = "data_api"

    def __init__(self, client: DataApiClient) -> None:
        self.client = client
        self.source = client.source
        self._tables: list[str] | None = None
        self._hidden: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Log out."""
        self.client.close()

    def version(self) -> str:
        """Return the version of FileMaker Server. Needs no account."""
        return self.client.product_info().get("version", "")

    def tables(self) -> list[str]:
        """Return the names of all layouts, as they were at the first call: each entity asks for them."""
        if self._tables is None:
            self._tables = self.client.layouts()
        return self._tables

    def fields(self, table: str) -> list[Field]:
        """Return the fields on a layout, without those in portals."""
        return self.client.layout_fields(table)

    def sample(self, table: str, fields: Sequence[Field]) -> Page:  # a layout comes whole
        """Return the first record and the number of all."""
        try:
            return self.page(table, 1, 1)
        except RecordMissing:  # the answer for an empty table
            return Page((), 0)

    def page(self, table: str, offset: int, limit: int) -> Page:
        """Return records of a layout; see `DataApiClient.page`."""
        page = self.client.page(table, offset, limit)
        self._hidden[table] = page.hidden
        return page

    def hidden_records(self, table: str) -> str:
        """Return what the last page of a layout said of records that the account may not see; see `Page.hidden`."""
        return self._hidden.get(table, "")

    def read(self, reading: Reading, consume: Callable[[Iterator[FileMakerRecord]], T]) -> T:
        """Read a layout completely; see `paging`. A layout comes with all its fields."""
        fetch = partial(self.page, reading.table)
        return read_completely(fetch, consume, page_size=reading.page_size, on_progress=reading.on_progress)
