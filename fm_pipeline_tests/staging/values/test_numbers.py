"""Numbers: what is one, and that PostgreSQL takes whatever is said to be one."""

from __future__ import annotations

from decimal import Decimal

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fm_pipeline.staging.values.numbers import UNREADABLE, read_number

KINDS = (
    "smallint", "integer", "bigint", "numeric", "numeric(6,2)", "numeric(3,5)", "numeric(400,0)", "real",
    "double precision",
)  # fmt: skip
DIGITS = st.text("0123456789", min_size=1, max_size=60)
NUMBERS = st.builds("{}{}{}{}".format, st.sampled_from(["", "-", "+"]), DIGITS, st.sampled_from(["", "."]), DIGITS)
TEXTS = st.one_of(
    st.text(max_size=20),
    NUMBERS,
    st.builds("{}e{}".format, NUMBERS, st.integers(-400, 400)),
    st.decimals(allow_nan=True).map(str),
    st.sampled_from(["1,234.5", "1,23", "1,5", "٣", "0x1F", "1_000", "-0", ".5", "5.", "32768", "-32768", "9999.995"]),
)


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("", "integer", None),
        ("1,250.50", "numeric(6,2)", "1250.5"),
        ("-32768", "smallint", "-32768"),
        ("12.0", "integer", "12"),
        ("1e3", "integer", "1000"),
        (".5", "numeric", "0.5"),
        ("-0", "numeric", "0"),
        ("9.9999999999999999", "numeric(6,2)", "10"),  # FileMaker's 10 / 3 * 3
        ("9.9999999999999999", "numeric", "9.9999999999999999"),
        (f"0.{'3' * 150}", "double precision", f"0.{'3' * 150}"),
    ],
)
def test_a_number_is_read_whole(text: str, kind: str, number: str | None) -> None:
    assert read_number(text, kind) == (number, [])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1,5", "numeric"), ("1.234.567", "numeric"), ("12 kg", "integer"), ("1.5", "integer"), ("32768", "smallint"),
        ("1.005", "numeric(6,2)"), ("10000", "numeric(6,2)"), ("1e99", "real"), ("1e-60", "real"), ("NaN", "numeric"),
        ("٣", "integer"), ("1_000", "integer"), ("9.99999999", "integer"), ("9007199254740993.4", "bigint"),
    ],
)  # fmt: skip
def test_what_is_no_number_or_does_not_fit_its_column_is_not_guessed(text: str, kind: str) -> None:
    assert read_number(text, kind) == (None, [UNREADABLE])


@given(st.lists(TEXTS, max_size=40))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_postgresql_takes_every_number_as_it_is(database_url: str, texts: list[str]) -> None:
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        for kind in KINDS:
            numbers = {number for text in texts if (number := read_number(text.strip(), kind)[0]) is not None}
            for number in numbers:
                cursor.execute(f"SELECT (%s::{kind})::text", (number,))
                (found,) = cursor.fetchone() or ("",)
                assert kind in {"real", "double precision"} or Decimal(found) == Decimal(number)
    connection.close()
