"""Read a layout completely while users edit the file, and prove that the result is complete.

The Data API has no snapshot. If a record is deleted between two pages, all later records move up, and a plain offset
skips one. A range of keys does not help, because FileMaker's find compares words. Pages therefore overlap by one
record: each page must start with the last record already read, and at the end the server's count must equal the
number of distinct records read. Otherwise records were deleted, and the whole layout is read again.

Records come in creation order and new ones are appended, so additions are harmless. One case is not detected: between
the same two pages, one record is deleted and another one, created earlier, is committed late. The two cancel out; the
next extraction has that record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from fm_pipeline.filemaker.door import Progress
from fm_pipeline.filemaker.errors import (
    ChangedWhileReading,
    DataApiError,
    RecordMissing,
    UnreadableAnswer,
    UnreadableRecord,
)
from fm_pipeline.filemaker.model import FileMakerRecord, Page
from fm_pipeline.filemaker.page_size import TOO_MUCH, PageSize

FetchPage = Callable[[int, int], Page]
"""(offset from 1, limit) -> page; RecordMissing if the offset is beyond the last record."""

ATTEMPTS = 5  # readings of a layout before the extraction is refused; most of them end early

T = TypeVar("T")


def read_completely(
    fetch: FetchPage,
    consume: Callable[[Iterator[FileMakerRecord]], T],
    *,
    page_size: int,
    on_progress: Progress | None = None,
    attempts: int = ATTEMPTS,
) -> T:
    """Pass every record of a found set to `consume`, exactly once, or fail.

    Args:
        fetch: returns one page; see `FetchPage`.
        consume: takes all records. If records were deleted during the reading, it is called again and must discard the
            result of the earlier call. It must not catch errors of the iterator.
        page_size: maximum number of records in a page; reduced after time-outs.
        on_progress: called after each page.
        attempts: maximum number of readings.

    Returns:
        The result of the last call of `consume`.

    Raises:
        ChangedWhileReading: the set changed during every attempt.
        FileMakerError: the server refused something else.
    """
    for _ in range(attempts - 1):
        try:
            return consume(read_once(fetch, page_size=page_size, on_progress=on_progress))
        except ChangedWhileReading:
            continue
    return consume(read_once(fetch, page_size=page_size, on_progress=on_progress))


def read_once(fetch: FetchPage, *, page_size: int, on_progress: Progress | None = None) -> Iterator[FileMakerRecord]:
    """Yield every record once, page by page; raise if the result cannot be proved to be complete.

    Raises:
        ChangedWhileReading: discard what was yielded.
    """
    pages = _Pages(fetch, page_size)
    seen: set[int] = set()
    last: int | None = None
    while True:
        page = pages.at(max(len(seen), 1))
        records = page.records
        if last is not None:
            if not records or records[0].record_id != last:
                raise ChangedWhileReading("Records were deleted while the layout was read.")
            records = records[1:]
        for record in records:
            if record.record_id in seen:
                raise ChangedWhileReading(f"FileMaker sent the record {record.record_id} twice.")
            seen.add(record.record_id)
            yield record
            last = record.record_id
        if on_progress is not None:
            on_progress(len(seen), page.found_count)
        if len(seen) == page.found_count:
            return
        if not records or len(seen) > page.found_count:
            raise ChangedWhileReading(
                f"FileMaker counts {page.found_count} records, but sent {len(seen)} different ones."
            )


class _Pages:
    """Fetches pages, and smaller ones after a time-out or an answer that cannot be read."""

    def __init__(self, fetch: FetchPage, page_size: int) -> None:
        self._fetch = fetch
        self._size = PageSize(page_size)

    def at(self, offset: int) -> Page:
        """Return the page at an offset; an empty page beyond the last record.

        Raises:
            UnreadableRecord: the record there is no valid JSON.
        """
        while True:
            try:
                return self._fetch(offset, self._size.records + 1)  # one more: the first is known already
            except RecordMissing:
                return Page((), 0)
            except TOO_MUCH as error:
                try:
                    self._size.reduce(error)
                except UnreadableAnswer:
                    raise self._find_unreadable(offset, error) from None

    def _find_unreadable(self, offset: int, error: DataApiError) -> DataApiError:
        """Return the error that names the first record from an offset whose answer is no valid JSON."""
        for place in (offset, offset + 1):
            try:
                self._fetch(place, 1)
            except RecordMissing:
                break
            except UnreadableAnswer as one:
                name = f"the record at place {place}" if one.record_id is None else f"the record {one.record_id}"
                return UnreadableRecord(
                    f"FileMaker sends {name} of the layout as invalid JSON.", record_id=one.record_id
                )
        return error
