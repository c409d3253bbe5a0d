"""Read a table occurrence completely while users edit the file, and prove that the result is complete.

OData has no snapshot: each page is a query of its own. With `$skip` a deletion makes a later record slip through, and
an insertion makes one come twice. Pages are therefore asked for by record id: those greater than the last one, in
ascending order. FileMaker gives ids in ascending order and no id twice, so whatever comes and goes, a record that is
there throughout is read exactly once.

That holds if the server does what it is asked. So each page is checked (`client.rows`), and at the end the server's
count must equal the number of records read. Otherwise records were deleted after they had been read, or a record that
was begun earlier was saved late, or the server holds something back: the whole table is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from fm_pipeline.filemaker.door import Reading
from fm_pipeline.filemaker.errors import ChangedWhileReading, RecordMissing, UnreadableAnswer, UnreadableRecord
from fm_pipeline.filemaker.model import Field, FileMakerRecord, Value
from fm_pipeline.filemaker.odata.client import ODataClient
from fm_pipeline.filemaker.odata.errors import OptionIgnored, QueryRefused, RepetitionsHidden, RowIdRefused
from fm_pipeline.filemaker.odata.rows import Rows
from fm_pipeline.filemaker.page_size import TOO_MUCH, PageSize
from fm_pipeline.filemaker.values import odata_reader

MOST_ROWS = 10_000  # in one answer, whatever is asked for (OData API Guide, "Request records from a table")
ATTEMPTS = 5  # readings of a table before the extraction is refused

T = TypeVar("T")


def read_completely(
    client: ODataClient,
    reading: Reading,
    consume: Callable[[Iterator[FileMakerRecord]], T],
    *,
    attempts: int = ATTEMPTS,
) -> T:
    """Pass every record of a table occurrence to `consume`, exactly once, or fail.

    Args:
        consume: see `fm_pipeline.filemaker.door.Door.read`.
        attempts: maximum number of readings.

    Returns:
        The result of the last call of `consume`.

    Raises:
        ChangedWhileReading: the count did not fit after any reading.
        UnreadableRecord: FileMaker writes a record as invalid JSON.
        FileMakerError: the server refused something else.
    """
    for _ in range(attempts - 1):
        try:
            return consume(read_once(client, reading))
        except ChangedWhileReading:
            continue
    return consume(read_once(client, reading))


def read_once(client: ODataClient, reading: Reading) -> Iterator[FileMakerRecord]:
    """Yield every record once, page by page; raise if the result cannot be proved to be complete.

    Raises:
        ChangedWhileReading: discard what was yielded.
    """
    table, fields = reading.table, reading.fields
    found = client.count(table)
    size = PageSize(min(reading.page_size, MOST_ROWS))
    repeating = repeating_in(fields)
    read = counted = last = 0
    while True:
        page = read_page(client, table, fields, last, size)
        for record in page.records:
            yield with_repetitions(client, table, record, repeating)
            last = record.record_id
        read += len(page.records)
        if reading.on_progress is not None:
            reading.on_progress(read, found)
        if page.more and not page.records:
            raise OptionIgnored(f"FileMaker says that {table} has more rows, and sends none.")
        # How full a page is tells nothing: the server may send fewer rows than it was asked for.
        if page.records and (page.more or read != found):
            continue
        found = client.count(table)
        if read == found:
            return
        if read > found or read == counted:
            raise ChangedWhileReading(f"FileMaker counts {found} rows in {table}, but sent {read} different ones.")
        counted = read


def first_record(client: ODataClient, table: str, fields: Sequence[Field]) -> tuple[FileMakerRecord, ...]:
    """Return the first record, as `read_once` would; none from an empty table.

    Raises:
        FileMakerError: what a reading would begin with.
    """
    repeating = repeating_in(fields)
    records = read_page(client, table, fields, 0, PageSize(1)).records
    return tuple(with_repetitions(client, table, record, repeating) for record in records)


def find_unreadable(client: ODataClient, table: str, fields: Sequence[Field], last: int) -> UnreadableRecord:
    """Return the error that names the first record after `last`, whose row is no valid JSON, and its fields."""
    record_id = client.rows(table, [], last, 1).records[0].record_id
    wrong = []
    for field in fields:
        try:
            client.rows(table, [field], record_id - 1, 1)
        except UnreadableAnswer:
            wrong.append(field.name)
    where = f" in {', '.join(wrong)}" if wrong else ""
    return UnreadableRecord(
        f"FileMaker sends the record {record_id} of {table} as invalid JSON{where}.", record_id=record_id
    )


def read_page(client: ODataClient, table: str, fields: Sequence[Field], last: int, size: PageSize) -> Rows:
    """Return the rows after a record id, fewer than `size` says where so many cannot be had.

    Raises:
        UnreadableRecord: the first one is invalid JSON.
        FileMakerError: the server refused something else.
    """
    while True:
        try:
            return client.rows(table, fields, last, size.records)
        except QueryRefused as refusal:
            raise _cause(client, table, refusal) from None
        except TOO_MUCH as error:
            try:
                size.reduce(error)
            except UnreadableAnswer:
                raise find_unreadable(client, table, fields, last) from None


def _cause(client: ODataClient, table: str, refusal: QueryRefused) -> QueryRefused | RowIdRefused:
    """Tell a server that does not know ROWID in a filter from one that does not know a field."""
    try:
        client.rows(table, [], 0, 1)
    except QueryRefused:
        return RowIdRefused(f"FileMaker refuses to send the rows of {table} by their record id.", code=refusal.code)
    return refusal


def repeating_in(fields: Sequence[Field]) -> list[Field]:
    """Return the fields of which a row has only the first repetition."""
    return [field for field in fields if len(field.repetitions) > 1]


def with_repetitions(
    client: ODataClient, table: str, record: FileMakerRecord, repeating: Sequence[Field]
) -> FileMakerRecord:
    """Fetch the repetitions of a record one field at a time, because a row has only the first one.

    Args:
        repeating: see `repeating_in`.

    Raises:
        ChangedWhileReading: the record is gone.
        RepetitionsHidden: the server shows the first one only.
    """
    if not repeating:
        return record
    values: dict[str, Value] = dict(record.fields)
    for field in repeating:
        try:
            given = client.field_value(table, record.record_id, field.name)
        except RecordMissing:
            raise ChangedWhileReading(f"The record {record.record_id} was deleted while {table} was read.") from None
        if not isinstance(given, list) or len(given) > len(field.repetitions):
            raise RepetitionsHidden(
                f"The field {field.name} of {table} repeats, and OData showed the record {record.record_id} without "
                "its repetitions."
            )
        del values[field.name]
        filled = [*given, *[None] * (len(field.repetitions) - len(given))]
        read = odata_reader(field.result)
        values |= {
            f"{field.name}({number})": read(value) for number, value in zip(field.repetitions, filled, strict=True)
        }
    return FileMakerRecord(record.record_id, record.mod_id, values)
