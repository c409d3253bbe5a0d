"""The words of `$filter`, `$orderby` and `$select`: literals, names, punctuation.

Source: Claris OData API Guide, "Write OData API calls": text in single quotes, dates and timestamps bare, names with
special characters in double quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fm_pipeline.sandbox.filemaker.odata.failures import ServiceError, syntax

TokenKind = Literal["text", "name", "timestamp", "date", "time", "number", "mark", "word", "end"]

_SPACE = re.compile(r"\s*")
_WORDS = re.compile(
    r"(?P<text>'(?:[^']|'')*')"
    r'|(?P<name>"(?:[^"]|"")*")'
    r"|(?P<timestamp>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,12})?)?(?:Z|[+-]\d\d:\d\d)?)"
    r"|(?P<date>\d{4}-\d\d-\d\d)"
    r"|(?P<time>\d{1,2}:\d\d(?::\d\d(?:\.\d{1,12})?)?)"
    r"|(?P<number>-?\d{1,400}(?:\.\d{1,400})?(?:[eE][+-]?\d{1,3})?)"
    r"|(?P<mark>[(),/*])"
    r"|(?P<word>[^\W\d_][\w.]*)"
)
# A word may be followed by these only: `12ab` and `'a'b` are no words.
_BORDER = re.compile(r"[\s(),/]|$")
# Far more than the 2,000 characters of a URL hold; keeps SQLite's depth of expressions out of reach.
_MOST = 1600


@dataclass(frozen=True)
class FilterToken:
    """One word: its kind, its value without quotation marks, and the text from it to the end."""

    kind: TokenKind
    value: str
    rest: str


def words(text: str) -> list[FilterToken]:
    """Return the words of an option, and an `end`.

    Raises:
        ServiceError: -1002 for what is no word, 8310 for a name outside ASCII without quotation marks.
    """
    found: list[FilterToken] = []
    place = _skip(text, 0)
    while place < len(text):
        match = _WORDS.match(text, place)
        kind = match.lastgroup if match else None
        if match is None or kind is None or (kind != "mark" and not _BORDER.match(text, match.end())):
            raise syntax(text[place:])
        value = match[0]
        if kind in ("text", "name"):
            value = value[1:-1].replace(value[0] * 2, value[0])
        if kind == "word" and not value.isascii():
            raise ServiceError(400, "8310", f"The name {value} must be written in quotation marks")
        found.append(FilterToken(kind, value, text[place:]))  # type: ignore[arg-type]
        if len(found) > _MOST:
            raise syntax(text[place:])
        place = _skip(text, match.end())
    return [*found, FilterToken("end", "", "")]


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place
