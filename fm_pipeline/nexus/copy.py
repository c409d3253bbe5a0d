"""COPY into a table from any iterable of rows, streamed, in PostgreSQL's text format.

Source of the format: https://www.postgresql.org/docs/current/sql-copy.html, "Text Format".
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import psycopg2

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

_CHUNK_BYTES = 1 << 16  # big enough that Python's share is small, small enough to stay flat
_TO_ESCAPE = re.compile(r"[\\\t\n\r]")  # few texts have any


def copy_rows(cursor: Cursor, table_sql: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Append rows to a table.

    Args:
        cursor: an open cursor; the caller owns the transaction.
        table_sql: the table as SQL, quoted where it must be, for example `fm_pipeline.source_records`.
        columns: plain column names, in the order of the values; they are quoted here.
        rows: one sequence a row. None becomes NULL; str, int, float, bool, date, datetime and UUID are
            written as they are; json is passed as str.

    Returns:
        The number of rows written.

    Raises:
        ValueError: a row has another number of values than there are columns, or a text holds a NUL or half a
            surrogate pair, which PostgreSQL cannot store; names row and column, never the value.
        TypeError: a value of another type.
        psycopg2.Error: PostgreSQL refused. Whatever `rows` itself raises comes through unchanged.
    """
    quoted = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
    reader = _Reader(_lines(columns, rows))
    statement = f"COPY {table_sql} ({quoted}) FROM STDIN WITH (FORMAT text, ENCODING 'UTF8')"
    try:
        cursor.copy_expert(statement, reader, _CHUNK_BYTES)  # type: ignore[arg-type]  # only read() is called
    except psycopg2.Error:
        if reader.fault is not None:  # psycopg2 reports a fault of the rows as a cancelled query
            raise reader.fault from None
        raise
    return reader.count


class _Reader:
    """The file that COPY reads from. Remembers what its rows raised."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.count = 0
        self.fault: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Return about `size` bytes of whole lines, nothing at the end."""
        chunk = bytearray()
        try:
            for line in self._lines:
                chunk += line
                self.count += 1
                if len(chunk) >= size:
                    break
        except BaseException as fault:
            self.fault = fault
            raise
        return bytes(chunk)


def _lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[bytes]:
    for number, row in enumerate(rows, start=1):
        if len(row) != len(columns):
            raise ValueError(f"Row {number} has {len(row)} values for {len(columns)} columns.")
        line = "\t".join([_text(value) for value in row]) + "\n"
        if "\0" in line:
            raise ValueError(f"Row {number}: a NUL character in {_culprit(columns, row)}.")
        try:
            encoded = line.encode()
        except UnicodeEncodeError:
            raise ValueError(f"Row {number}: half a surrogate pair in {_culprit(columns, row)}.") from None
        yield encoded


def _text(value: object) -> str:
    if isinstance(value, str):
        return _escaped(value) if _TO_ESCAPE.search(value) else value
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, int | float | uuid.UUID):
        return str(value)
    if isinstance(value, dt.date):  # datetime is one
        return value.isoformat()
    raise TypeError(f"COPY has no text for a value of type {type(value).__name__}.")


def _escaped(text: str) -> str:
    # Twenty times as fast as str.translate() on a note of some lines.
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _culprit(columns: Sequence[str], row: Sequence[object]) -> str:
    """Name the columns whose text PostgreSQL cannot store."""
    bad = [name for name, value in zip(columns, row, strict=True) if isinstance(value, str) and not _storable(value)]
    return ", ".join(bad)


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
