"""Read only the records of a table occurrence that have changed, found by the versions of all of them.

The version of a record is its modification count (ROWMODID), which FileMaker raises with every edit. All record ids and
versions are read first, completely and in a few pages. The records are then read by the same query as a whole table:
those after a record id. So nothing is asked of the server that a whole reading does not ask too.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import NamedTuple

from fm_pipeline.filemaker.door import Reading
from fm_pipeline.filemaker.errors import ChangedWhileReading
from fm_pipeline.filemaker.model import FileMakerRecord
from fm_pipeline.filemaker.odata.client import ODataClient
from fm_pipeline.filemaker.odata.paging import (
    MOST_ROWS,
    read_completely,
    read_page,
    repeating_in,
    with_repetitions,
)
from fm_pipeline.filemaker.page_size import PageSize


class RecordVersions(NamedTuple):
    """The ids of all records, ascending, and their modification counts. As arrays: there may be millions."""

    ids: array[int]
    counts: array[int]


GAP = 100  # this many rows that nobody needs cost no more than another request


def read_versions(client: ODataClient, table: str) -> RecordVersions:
    """Return the versions of all records.

    Raises:
        FileMakerError: as `read_completely`.
    """
    return read_completely(client, Reading(table, [], MOST_ROWS), _versions)


def read_listed(
    client: ODataClient, reading: Reading, listed: Sequence[int], wanted: Set[int]
) -> list[FileMakerRecord] | None:
    """Return some of the listed records as they are now.

    Args:
        listed: the ids of all records, ascending.
        wanted: those to read.

    Returns:
        The records, or None if one of them did not come: it is gone, or the server holds it back.

    Raises:
        FileMakerError: as `read_page`.
    """
    records: dict[int, FileMakerRecord] = {}
    for run in _runs(listed, wanted, min(reading.page_size, MOST_ROWS)):
        last, size = run[0] - 1, PageSize(len(run))
        while last < run[-1]:
            page = read_page(client, reading.table, reading.fields, last, size)
            if not page.records:
                return None
            records |= {record.record_id: record for record in page.records if record.record_id in wanted}
            last = page.records[-1].record_id
    if len(records) < len(wanted):
        return None
    repeating = repeating_in(reading.fields)
    try:
        return [with_repetitions(client, reading.table, record, repeating) for record in records.values()]
    except ChangedWhileReading:
        return None


def _versions(records: Iterable[FileMakerRecord]) -> RecordVersions:
    versions = RecordVersions(array("q"), array("q"))
    for record in records:
        versions.ids.append(record.record_id)
        versions.counts.append(record.mod_id)
    return versions


def _runs(listed: Sequence[int], wanted: Set[int], most: int) -> Iterator[Sequence[int]]:
    """Yield stretches of the list that begin and end with a wanted id and have no long gap, each for one page."""
    start = end = -1
    for place, record_id in enumerate(listed):
        if record_id not in wanted:
            continue
        if start >= 0 and (place - end > GAP or place - start >= most):
            yield listed[start : end + 1]
            start = -1
        if start < 0:
            start = place
        end = place
    if start >= 0:
        yield listed[start : end + 1]
