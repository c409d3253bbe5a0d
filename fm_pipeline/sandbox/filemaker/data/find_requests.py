"""Translates a `_find` query into one SQL condition: objects are ORed, their keys ANDed, `omit` excludes.

Source: Claris FileMaker Data API Guide, "Perform a find request"; FileMaker Pro Help, "Finding text",
"Finding numbers", "Finding dates and times".
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from fm_pipeline.sandbox.filemaker.data import find_text, values
from fm_pipeline.sandbox.filemaker.data.schema import FieldType
from fm_pipeline.sandbox.filemaker.responses import ApiError

_COMPARISON = re.compile(r"(<=|>=|≤|≥|<|>)\s*(.*)", re.DOTALL)
_RANGE = re.compile(r"(?s)([^\"]*[^\".\s])\s*(?:\.{2,3}|…)\s*([^\".\s][^\"]*)")
_YEAR = re.compile(r"\d{4}")
_MONTH = re.compile(r"(\d{1,2})/(\d{4})")
_ISO_MONTH = re.compile(r"(\d{4})-(\d{2})")
_END_OF_DAY = "T23:59:59.9999999"


@dataclass(frozen=True)
class Condition:
    """An SQL condition with its parameters; `compares` if it compares a key column, which then gets an index."""

    sql: str
    parameters: tuple[object, ...] = ()
    compares: bool = False


@dataclass(frozen=True)
class FindColumn:
    """The columns that a find searches: text and key, with the alias and name of their table."""

    kind: FieldType
    rows: str
    alias: str
    plain_text: str
    plain_key: str

    @property
    def text(self) -> str:
        """The text as it was entered."""
        return f"{self.alias}.{self.plain_text}"

    @property
    def key(self) -> str:
        """The sort key, for comparisons; NULL for empty and for unreadable text."""
        return f"{self.alias}.{self.plain_key}"


@dataclass(frozen=True)
class FindContext:
    """How dates in a find request are parsed."""

    dateformat: int
    locale: values.Locale
    today: date


def criterion(column: FindColumn, request: str, reading: FindContext) -> Condition:
    """Return the condition for one field and its find text.

    Raises:
        ApiError: 500 or 501, the text is not a date or time.
    """
    request = request.strip()
    if condition := _alone(column, request):
        return condition
    request = request.removeprefix("~")  # a relaxed search differs in Japanese only
    if found := _COMPARISON.fullmatch(request):
        return _compared(column, found[1], found[2], reading)
    if found := _RANGE.fullmatch(request):
        low, high = _span(column.kind, found[1], reading)[0], _span(column.kind, found[2], reading)[1]
    elif column.kind == "text" or (column.kind == "number" and find_text.literal(request) is None):
        # A wildcard looks at the text of a number field: `*kg` finds "12 kg".
        return _text(column, request)
    else:
        low, high = _span(column.kind, request.lstrip("="), reading)
    return Condition(f"{column.key} BETWEEN ? AND ?", (low, high), True)


def _alone(column: FindColumn, request: str) -> Condition | None:
    """Return the condition for an operator without operand: empty, not empty, duplicate, unreadable."""
    text, key = column.text, column.key
    if request in ("=", "=="):
        return Condition(f"{text} = ''")
    if request == "*":
        return Condition(f"{text} <> ''")
    if request == "!":
        twice = f"SELECT {column.plain_key} FROM {column.rows} GROUP BY 1 HAVING count({column.plain_key}) > 1"  # noqa: S608
        return Condition(f"{key} IN ({twice})", (), True)
    if request == "?" and column.kind != "text":
        return Condition(f"({text} <> '' AND {key} IS NULL)")
    return None


def _compared(column: FindColumn, operator: str, request: str, reading: FindContext) -> Condition:
    low, high = _span(column.kind, request, reading)
    sql, bound = {
        "<": ("<", low), "≤": ("<=", high), "<=": ("<=", high),
        ">": (">", high), "≥": (">=", low), ">=": (">=", low),
    }[operator]  # fmt: skip
    return Condition(f"{column.key} {sql} ?", (bound,), True)


def _text(column: FindColumn, request: str) -> Condition:
    if request.startswith("=="):
        plain = find_text.literal(request[2:])
        if plain is not None:
            return Condition(f"{column.key} = ?", (plain.casefold(),), True)
        return Condition(f"text_matches(?, {column.text})", (find_text.whole_field(request[2:]),))
    patterns = find_text.words(request.removeprefix("="), whole=request.startswith("="))
    if not patterns:
        return Condition("0")
    sql = " AND ".join([f"text_matches(?, {column.text})"] * len(patterns))
    return Condition(f"({sql})", tuple(patterns))


def _span(kind: FieldType, request: str, reading: FindContext) -> tuple[object, object]:
    """Return the first and last key of the range that a text means: a month is many dates, a day many timestamps."""
    request = request.strip()
    if kind in ("text", "container"):
        plain = find_text.literal(request)
        key = (plain if plain is not None else request).casefold()
        return key, key
    if kind == "number":
        value = values.numeric_part(request)
        return value, value  # None compares with nothing: no match
    request = find_text.literal(request) or request
    if kind == "time":
        seconds = values.sort_key("time", values.parse("time", request, 0, reading.locale) or "")
        if seconds is None:
            raise ApiError(501)
        return seconds, seconds
    first, last = _days(request, reading)
    if kind == "date":
        return first[:10], last[:10]
    if "T" in first:
        return first, last
    return first + "T00:00:00", last + _END_OF_DAY


def _days(request: str, reading: FindContext) -> tuple[str, str]:
    if request == "//":
        return reading.today.isoformat(), reading.today.isoformat()
    if _YEAR.fullmatch(request):
        return f"{request}-01-01", f"{request}-12-31"
    month = _MONTH.fullmatch(request)
    iso_month = _ISO_MONTH.fullmatch(request)
    if month or iso_month:
        year, number = (
            (int(month[2]), int(month[1])) if month else (int(iso_month[1]), int(iso_month[2]))  # type: ignore[index]
        )
        if 1 <= number <= 12:
            last = calendar.monthrange(year, number)[1]
            return f"{year:04d}-{number:02d}-01", f"{year:04d}-{number:02d}-{last:02d}"
    day = values.parse("date", request, reading.dateformat, reading.locale)
    moment = day or values.parse("timestamp", request, reading.dateformat, reading.locale)
    if moment is None:
        raise ApiError(500)
    return moment, moment


def whole_query(query: object, condition_for: Callable[[str, str], Condition]) -> Condition:
    """Return the condition for a whole query.

    Args:
        query: the JSON value of the request.
        condition_for: returns the condition for a field name and its find text.

    Raises:
        ApiError: 960 for a query of another form, 400 if it is empty, and what `condition_for` raises.
    """
    if not isinstance(query, list) or not all(isinstance(one, dict) for one in query):
        raise ApiError(960)
    total: Condition | None = None
    for one in query:
        omit = str(one.get("omit", "false")).lower() == "true"
        asked = [(name, as_text(wanted)) for name, wanted in one.items() if name != "omit"]
        parts = [condition_for(name, wanted) for name, wanted in asked if wanted.strip()]
        if not parts:
            raise ApiError(400)
        sql = "(" + " AND ".join(part.sql for part in parts) + ")"
        parameters = tuple(parameter for part in parts for parameter in part.parameters)
        if omit:
            # A key may be NULL, and NOT NULL is not true: IS NOT TRUE keeps such records.
            sql = f"{sql} IS NOT TRUE"
        if total is not None:
            sql = f"({total.sql} {'AND' if omit else 'OR'} {sql})"
            parameters = total.parameters + parameters
        total = Condition(sql, parameters)
    if total is None:
        raise ApiError(400)
    return total


def as_text(wanted: object) -> str:
    """Convert a value of a query object to find text. Raises ApiError 1708 for null, 960 for arrays and objects."""
    if wanted is None:
        raise ApiError(1708)
    if isinstance(wanted, bool):
        return str(int(wanted))
    if isinstance(wanted, str | int | float):
        return str(wanted)
    raise ApiError(960)
