"""Reading a layout completely while people work in the file, and knowing that it was complete.

The Data API has no snapshot: a record that is deleted between two pages moves all later ones up, and a plain
offset then skips one. Keys do not help either, because FileMaker finds text by words. So pages overlap by one
record: each page must begin with the last record already read, and at the end the server's count must be the
number of distinct records read. Otherwise the set moved, and the whole layout is read again.

Records come in creation order and new ones are appended, so additions do not disturb. One thing is not seen: a
deletion and, between the same two pages, the late commit of a record that was begun before; they cancel out,
and the next extraction has that record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from fm_pipeline.filemaker.errors import AnswerTooLarge, ChangedWhileReading, RecordMissing, ServerTimeout
from fm_pipeline.filemaker.model import Page, Record

FetchPage = Callable[[int, int], Page]
"""(offset from 1, limit) -> page; RecordMissing when the offset lies behind the last record."""
Progress = Callable[[int, int], None]
"""(rows so far, found count)."""

SMALLEST_PAGE = 25  # a server that cannot send 25 records in time has another problem than their number
ATTEMPTS = 5  # readings of a layout before we say that the file is being edited; most end early
TRIES_OF_SMALLEST_PAGE = 2

T = TypeVar("T")


def read_completely(
    fetch: FetchPage,
    consume: Callable[[Iterator[Record]], T],
    *,
    page_size: int,
    on_progress: Progress | None = None,
    attempts: int = ATTEMPTS,
) -> T:
    """Give every record of a found set to `consume`, once, or fail.

    Args:
        fetch: gets one page; see `FetchPage`.
        consume: takes all records. It is called anew when the set changed under the reading, and must then
            throw away what an earlier call took. It must let errors of the iterator pass.
        page_size: records a page, at most; less after time-outs.
        on_progress: called after each page.
        attempts: how often to begin, at most.

    Returns:
        What the last `consume` returned.

    Raises:
        ChangedWhileReading: the set changed during every attempt.
        FileMakerError: whatever else the server refused.
    """
    for _ in range(attempts - 1):
        try:
            return consume(read_once(fetch, page_size=page_size, on_progress=on_progress))
        except ChangedWhileReading:
            continue
    return consume(read_once(fetch, page_size=page_size, on_progress=on_progress))


def read_once(fetch: FetchPage, *, page_size: int, on_progress: Progress | None = None) -> Iterator[Record]:
    """Yield every record once, page by page; raise at the end if it cannot be proved that these were all.

    Raises:
        ChangedWhileReading: throw away what was yielded.
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
    """Fetches pages, smaller ones after a time-out."""

    def __init__(self, fetch: FetchPage, page_size: int) -> None:
        self._fetch = fetch
        self._size = page_size
        self._tries_left = TRIES_OF_SMALLEST_PAGE

    def at(self, offset: int) -> Page:
        """The page that begins at an offset; an empty one behind the last record."""
        while True:
            try:
                return self._fetch(offset, self._size + 1)  # one more: the first is known already
            except RecordMissing:
                return Page((), 0)
            except (ServerTimeout, AnswerTooLarge):
                if self._size <= SMALLEST_PAGE:
                    self._tries_left -= 1
                    if self._tries_left == 0:
                        raise
                self._size = max(self._size // 2, min(self._size, SMALLEST_PAGE))
