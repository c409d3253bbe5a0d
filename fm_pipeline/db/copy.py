"""COPY into a table from any iterable of rows, streamed, in PostgreSQL's text format.

Source of the format: https://www.postgresql.org/docs/current/sql-copy.html, "Text Format".
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import psycopg2

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

_CHUNK_BYTES = 1 << 16  # big enough that Python's share is small, small enough to stay flat


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
    reader = _CopyStream(columns, rows)
    statement = f"COPY {table_sql} ({quoted}) FROM STDIN WITH (FORMAT text, ENCODING 'UTF8')"
    try:
        cursor.copy_expert(statement, reader, _CHUNK_BYTES)  # type: ignore[arg-type]  # only read() is called
    except psycopg2.Error:
        if reader.fault is not None:  # psycopg2 reports a fault of the rows as a cancelled query
            raise reader.fault from None
        raise
    return reader.count


class _CopyStream:
    """The file that COPY reads from. Keeps the exception that its rows raised."""

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        self._columns = columns
        self._rows = iter(rows)
        self.count = 0
        self.fault: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Return about `size` bytes of whole lines, nothing at the end."""
        try:
            return self._chunk(size)
        except BaseException as fault:
            self.fault = fault
            raise

    def _chunk(self, size: int) -> bytes:
        width, length = len(self._columns), 0
        rows: list[Sequence[object]] = []  # as many as the lines, to name the one that cannot be stored
        lines: list[str] = []
        for row in self._rows:
            if len(row) != width:
                raise ValueError(f"Row {self.count + len(rows) + 1} has {len(row)} values for {width} columns.")
            line = _line(row, width)
            rows.append(row)
            lines.append(line)
            length += len(line)
            if length >= size:
                break
        text = "".join(lines)
        try:
            encoded = text.encode()
        except UnicodeEncodeError:
            raise self._not_storable("half a surrogate pair", rows) from None
        if b"\0" in encoded:
            raise self._not_storable("a NUL character", rows)
        self.count += len(rows)
        return encoded

    def _not_storable(self, what: str, rows: Sequence[Sequence[object]]) -> ValueError:
        """The error that names the first row whose text PostgreSQL cannot store, and its columns."""
        for number, row in enumerate(rows, start=self.count + 1):
            if bad := _culprit(self._columns, row):
                return ValueError(f"Row {number}: {what} in {bad}.")
        return ValueError(f"Row {self.count + 1} or a later one: {what}.")


def _line(row: Sequence[object], width: int) -> str:
    """Return a row as a line of COPY. Most need no escaping, so it is checked once a row, not once a value."""
    line = "\t".join([value if value.__class__ is str else _AS_TEXT[value.__class__](value) for value in row])
    if (
        "\n" in line
        or "\r" in line
        or line.count("\t") != width - 1
        or ("\\" in line and line.count("\\") != row.count(None))
    ):
        line = "\t".join([_escaped(value) if isinstance(value, str) else _AS_TEXT[type(value)](value) for value in row])
    return line + "\n"


class _ByType(dict[type, Callable[[Any], str]]):
    """Functions that write a value as text, by its type; a subclass is written as its base class."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        for base in kind.__mro__[1:]:
            if base in self:
                return self[base]
        raise TypeError(f"COPY has no text for a value of type {kind.__name__}.")


_AS_TEXT = _ByType(
    {
        type(None): lambda _: "\\N",
        bool: lambda value: "t" if value else "f",
        int: str,
        float: str,
        str: str,
        uuid.UUID: str,
        dt.date: dt.date.isoformat,
        dt.datetime: dt.datetime.isoformat,
    }
)


def _escaped(text: str) -> str:
    # Twenty times as fast as str.translate() on a note of some lines.
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _culprit(columns: Sequence[str], row: Sequence[object]) -> str:
    """Name the columns whose text PostgreSQL cannot store."""
    bad = [name for name, value in zip(columns, row, strict=True) if isinstance(value, str) and not _storable(value)]
    return ", ".join(bad)


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
