"""COPY into a table from any iterable of rows, streamed, in PostgreSQL's text format.

Source of the format: https://www.postgresql.org/docs/current/sql-copy.html, "Text Format".
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import psycopg2
from psycopg2 import sql

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

_CHUNK_BYTES = 1 << 16  # big enough that Python's share is small, small enough to stay flat
_MOST_ROWS = 512  # of a chunk
_NULL = type(None)


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
    lines = _CopyLines(columns, rows)
    copy_from(cursor, f"COPY {table_sql} ({quoted}) FROM STDIN WITH (FORMAT text, ENCODING 'UTF8')", lines.read)
    return lines.count


def copy_from(cursor: Cursor, statement: sql.Composable | str, read: Callable[[int], bytes]) -> None:
    """Run a COPY … FROM STDIN.

    Args:
        read: returns up to about as many bytes as it is asked for; none at the end.

    Raises:
        psycopg2.Error: PostgreSQL refused. What `read` raises comes through unchanged, an interrupt too: psycopg2 alone
            would report it as a cancelled query.
    """
    source = _Source(read)
    try:
        cursor.copy_expert(statement, source, _CHUNK_BYTES)  # type: ignore[arg-type]  # only read() is called
    except psycopg2.Error:
        if source.fault is not None:
            raise source.fault from None
        raise


class _Source:
    """The file that COPY reads from. Keeps the exception that reading raised."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.fault: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            return self._read(size)
        except BaseException as fault:
            self.fault = fault
            raise


class _CopyLines:
    """Rows as lines of COPY."""

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        self._columns = columns
        self._rows = iter(rows)
        self._ahead = 1  # until some rows are written, it is not known how long they are
        self.count = 0

    def read(self, size: int) -> bytes:
        """Return about `size` bytes of whole lines, nothing at the end."""
        rows = list(islice(self._rows, self._ahead))
        if not rows:
            return b""
        text = self._as_text(rows)
        try:
            encoded = text.encode()
        except UnicodeEncodeError:
            raise self._not_storable("half a surrogate pair", rows) from None
        if b"\0" in encoded:
            raise self._not_storable("a NUL character", rows)
        self.count += len(rows)
        # Rows of one table are of similar length. After longer rows the next chunk has fewer.
        self._ahead = min(max(len(rows) * size // len(encoded), 1), 4 * len(rows), _MOST_ROWS)
        return encoded

    def _as_text(self, rows: Sequence[Sequence[object]]) -> str:
        """Return rows as lines of COPY. They are written column by column: one check for many values."""
        width = len(self._columns)
        for number, row in enumerate(rows, start=self.count + 1):
            if len(row) != width:
                raise ValueError(f"Row {number} has {len(row)} values for {width} columns.")
        columns = [_column_as_text(values) for values in zip(*rows, strict=True)]
        return "\n".join(map("\t".join, zip(*columns, strict=True))) + "\n"

    def _not_storable(self, what: str, rows: Sequence[Sequence[object]]) -> ValueError:
        """The error that names the first row whose text PostgreSQL cannot store, and its columns."""
        for number, row in enumerate(rows, start=self.count + 1):
            if bad := _culprit(self._columns, row):
                return ValueError(f"Row {number}: {what} in {bad}.")
        return ValueError(f"Row {self.count + 1} or a later one: {what}.")


def _column_as_text(values: Sequence[object]) -> Sequence[str]:
    """Return the values of a column as COPY has them."""
    kinds = set(map(type, values))
    has_nulls = _NULL in kinds
    there = [value for value in values if value is not None] if has_nulls else values
    kinds.discard(_NULL)
    if kinds == {str}:
        texts = _escaped(cast("Sequence[str]", there))
    elif any(issubclass(kind, str) for kind in kinds):
        texts = [_escaped([value])[0] if isinstance(value, str) else _AS_TEXT[type(value)](value) for value in there]
    elif len(kinds) == 1:
        texts = list(map(_AS_TEXT[kinds.pop()], there))
    else:
        texts = [_AS_TEXT[type(value)](value) for value in there]
    if not has_nulls:
        return texts
    following = iter(texts)
    return ["\\N" if value is None else next(following) for value in values]


class _ByType(dict[type, Callable[[Any], str]]):
    """Functions that write a value as text, by its type; a subclass is written as its base class."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        for base in kind.__mro__[1:]:
            if base in self:
                return self[base]
        raise TypeError(f"COPY has no text for a value of type {kind.__name__}.")


_AS_TEXT = _ByType(
    {
        bool: lambda value: "t" if value else "f",
        int: str,
        float: str,
        str: str,
        uuid.UUID: str,
        dt.date: dt.date.isoformat,
        dt.datetime: dt.datetime.isoformat,
    }
)


def _escaped(texts: Sequence[str]) -> Sequence[str]:
    """Return texts with the escapes of COPY; all of them are looked through and changed as one text."""
    whole = "\0".join(texts)
    if "\\" not in whole and "\t" not in whole and "\n" not in whole and "\r" not in whole:
        return texts
    if whole.count("\0") >= len(texts):  # a NUL in one of them: the caller refuses it
        return texts
    # Twenty times as fast as str.translate() on a note of some lines.
    whole = whole.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return whole.split("\0")


def _culprit(columns: Sequence[str], row: Sequence[object]) -> str:
    """Name the columns whose text PostgreSQL cannot store."""
    bad = [name for name, value in zip(columns, row, strict=True) if isinstance(value, str) and not _storable(value)]
    return ", ".join(bad)


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
