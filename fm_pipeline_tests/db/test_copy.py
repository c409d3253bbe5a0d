"""COPY of any rows, against PostgreSQL."""

from __future__ import annotations

import datetime as dt
import tracemalloc
import uuid
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.copy import copy_rows


@pytest.fixture
def cursor(database_url: str) -> Iterator[Cursor]:
    """A cursor in a transaction that is never committed."""
    with connect(database_url) as connection, connection.cursor() as made:
        yield made


def test_every_type_and_every_special_text_is_copied_unchanged(cursor: Cursor) -> None:
    cursor.execute('CREATE TABLE t (a text, "select" bigint, c bool, d timestamptz, e date, f uuid, g float, h json)')
    now = dt.datetime(2026, 4, 5, 2, 30, 0, 123456, tzinfo=dt.timezone(dt.timedelta(hours=10)))
    full = ("x", 2**60, True, now, now.date(), str(uuid.UUID(int=7)), 0.1, '{"n": "\\u0000\\\\"}')
    texts = ["", "\\N", "\\.", "\\", "a\tb\nc\rd\x0be", "\x1d", "NULL", "\u2028\u00a0", "\U0001f600", "O'Brien"]
    rows = [full, *((text, None, False, None, None, None, None, None) for text in texts)]
    columns = ["a", "select", "c", "d", "e", "f", "g", "h"]
    assert copy_rows(cursor, "t", columns, ((*row[:5], row[5] and uuid.UUID(row[5]), *row[6:]) for row in rows)) == 11
    cursor.execute('SELECT a, "select", c, d, e, f::text, g, h::text FROM t')
    assert cursor.fetchall() == rows


def test_a_type_that_is_derived_from_another_is_written_as_that_one(cursor: Cursor) -> None:
    class Name(str):
        __slots__ = ()

    class Moment(dt.datetime):
        pass

    cursor.execute("CREATE TABLE t (a text, b timestamp)")
    copy_rows(cursor, "t", ["a", "b"], [(Name("a\tb"), Moment(2026, 1, 2))])
    cursor.execute("SELECT * FROM t")
    assert cursor.fetchall() == [("a\tb", dt.datetime(2026, 1, 2))]  # noqa: DTZ001


def test_columns_of_mixed_values_are_copied_unchanged_in_every_chunk(cursor: Cursor) -> None:
    cursor.execute("CREATE TABLE t (n int, a text, b text, c text)")
    odd = ["plain", None, "tab\tline\nback\\slash", "\\N", "", "x" * 100_000]
    rows = [(n, odd[n % 6], odd[n % 5] if n > 900 else "plain", None) for n in range(1500)]
    assert copy_rows(cursor, "t", ["n", "a", "b", "c"], rows) == 1500
    cursor.execute("SELECT * FROM t ORDER BY n")
    assert cursor.fetchall() == rows


def test_a_column_may_hold_texts_and_numbers(cursor: Cursor) -> None:
    cursor.execute("CREATE TABLE t (a text)")
    copy_rows(cursor, "t", ["a"], [["a\tb"], [1], [None], [True], [2.5]])
    cursor.execute("SELECT a FROM t")
    assert [row[0] for row in cursor] == ["a\tb", "1", None, "t", "2.5"]


def test_no_rows_are_no_rows(cursor: Cursor) -> None:
    cursor.execute("CREATE TABLE t (a text)")
    assert copy_rows(cursor, "t", ["a"], []) == 0


def test_an_exception_of_the_rows_is_passed_on(cursor: Cursor) -> None:
    cursor.execute("CREATE TABLE t (a text)")

    def rows() -> Iterator[list[str]]:
        yield ["first"]
        raise LookupError("the source is gone")

    with pytest.raises(LookupError, match="the source is gone"):
        copy_rows(cursor, "t", ["a"], rows())


@pytest.mark.parametrize("bad", ["Canary\0grove", "Canary\ud800grove"])
def test_a_text_that_postgresql_cannot_hold_is_named_by_row_and_column_and_not_shown(cursor: Cursor, bad: str) -> None:
    cursor.execute("CREATE TABLE t (a text, b text)")
    with pytest.raises(ValueError, match=r"Row 2: .* in b\.") as refused:
        copy_rows(cursor, "t", ["a", "b"], [("x", "y"), ("x", bad)])
    assert "Canary" not in str(refused.value)


def test_a_short_row_and_an_unknown_type_are_refused(cursor: Cursor) -> None:
    cursor.execute("CREATE TABLE t (a text)")
    cursor.execute("SAVEPOINT here")
    with pytest.raises(ValueError, match="Row 1 has 2 values for 1 columns"):
        copy_rows(cursor, "t", ["a"], [("x", "y")])
    cursor.execute("ROLLBACK TO here")
    with pytest.raises(TypeError, match="type dict"):
        copy_rows(cursor, "t", ["a"], [({},)])


def test_a_refusal_of_postgresql_is_raised_as_its_own_error(cursor: Cursor) -> None:
    cursor.execute("CREATE TABLE t (a int)")
    with pytest.raises(psycopg2.DataError):
        copy_rows(cursor, "t", ["a"], [("not a number",)])


def test_rows_are_streamed_and_never_all_in_memory(cursor: Cursor) -> None:
    cursor.execute("CREATE TABLE t (a text)")
    rows = ([str(number) * 200] for number in range(10_000))  # about 8 MB
    tracemalloc.start()
    try:
        assert copy_rows(cursor, "t", ["a"], rows) == 10_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
