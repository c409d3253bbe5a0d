"""Reading a layout completely while people work in the file, and knowing that it was complete.

The Data API has no snapshot: a record that is deleted between two pages moves all later ones up, and a plain
offset then skips one. Keys do not help either, because FileMaker finds text by words. So pages overlap: each
one begins with the last record already seen. If its first record is one that we have not seen, records before
it are gone, and the reader steps back, twice as far each time, until it meets a known record again.

Records come in creation order and new ones are appended, so nothing that still exists is skipped. What is left
is that records were deleted after they were read; then the server's count differs from ours at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from fm_pipeline.filemaker.errors import (
    AnswerTooLarge,
    ChangedWhileReading,
    RecordMissing,
    ServerTimeout,
)
from fm_pipeline.filemaker.model import Page, Record

FetchPage = Callable[[int, int], Page]
"""(offset from 1, limit) -> page; RecordMissing when the offset lies behind the last record."""
Progress = Callable[[int, int], None]
"""(rows so far, found count)."""

SMALLEST_PAGE = 25  # a server that cannot send 25 records in time has another problem than their number
ATTEMPTS = 3  # whole readings of a layout before we say that the file is being edited
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
            return consume(one_pass(fetch, page_size=page_size, on_progress=on_progress))
        except ChangedWhileReading:
            continue
    return consume(one_pass(fetch, page_size=page_size, on_progress=on_progress))


def one_pass(fetch: FetchPage, *, page_size: int, on_progress: Progress | None = None) -> Iterator[Record]:
    """Yield every record once, page by page; raise at the end if it cannot be proved that these were all.

    Raises:
        ChangedWhileReading: throw away what was yielded.
    """
    pages = _Pages(fetch, page_size)
    seen: set[int] = set()
    position = 0  # of the last record read, counted from 1 as the server counts
    while True:
        offset, page = pages.continuing(position, seen)
        for record in page.records:
            if record.record_id not in seen:
                seen.add(record.record_id)
                yield record
        if on_progress is not None:
            on_progress(len(seen), page.found_count)
        reached = offset + len(page.records) - 1
        if reached >= page.found_count:
            break
        if reached <= position and offset == max(position, 1):  # fewer rows than asked for, and none new
            raise ChangedWhileReading("The server stopped sending records before the last one.")
        position = reached
    if len(seen) != page.found_count:
        raise ChangedWhileReading(
            f"FileMaker counts {page.found_count} records, but {len(seen)} were read: "
            "records were deleted in the meantime."
        )


class _Pages:
    """Fetches pages, smaller ones after a time-out."""

    def __init__(self, fetch: FetchPage, page_size: int) -> None:
        self._fetch = fetch
        self._size = page_size
        self._tries_left = TRIES_OF_SMALLEST_PAGE

    def continuing(self, position: int, seen: set[int]) -> tuple[int, Page]:
        """The page that begins with a record already seen, nearest to `position`; and its offset."""
        offset, step = max(position, 1), 1
        while True:
            page = self._at(offset)
            if offset == 1 or (page.records and page.records[0].record_id in seen):
                return offset, page
            offset, step = max(1, offset - step), step * 2

    def _at(self, offset: int) -> Page:
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
