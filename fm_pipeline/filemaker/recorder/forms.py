"""The form of a value: its type, and of text what kinds of characters it has. A form does not give the value away.

    null, boolean, empty text, url
    number, 4 digits                             of an integer; with a fraction `number, 4 and 2 digits`
    text 9999-99-99                              of a date, a time, a telephone number: each digit is a 9
    text, up to 64: letters, spaces, control 13  of all other text

Runs that mix letters with digits, as in an identifier, are written XXXX: which of them are digits would tell one
identifier from another.
"""

from __future__ import annotations

import re
from typing import Final

EMPTY: Final = "empty text"
NULL: Final = "null"
URL: Final = "url"
_LONGEST_PATTERN = 32  # characters
_CLOCK = re.compile(r"[+-]?\d[\d/.:-]*(?:[T ][\d:.]+)?(?:Z| ?[AP]M)?")
_RUN = re.compile(r"[A-Za-z0-9]+")
_KNOWN = {"?": "text ?", "<No Access>": "text without access"}


def form_of(value: object) -> str:
    """Return the form of a value from JSON that is no object and no list."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return _number(value)
    return _text(str(value))


def coarse(form: str, *, dated: bool = False) -> str:
    """Return what of a form can be compared between two files: not the length, and the pattern only of dates.

    Args:
        dated: the value is of a field for dates, times or timestamps.
    """
    if form.startswith("number"):
        return "number"
    if form.startswith("list of"):
        return "list"
    if form.startswith("text ") and form not in _KNOWN.values():
        return form if dated and _CLOCK.fullmatch(form.removeprefix("text ")) else "text"
    if form.startswith("text, "):
        controls = re.findall(r"control \d+", form)
        return ", ".join(["text", *controls])
    return form


def _number(value: float) -> str:
    text = str(value)
    whole, point, rest = text.lstrip("-").partition(".")
    sign = "minus, " if text.startswith("-") else ""
    if not whole.isdecimal() or (point and not rest.isdecimal()):
        return f"number, {sign}with an exponent"
    return f"number, {sign}{len(whole)}{f' and {len(rest)}' if point else ''} digits"


def _text(text: str) -> str:
    if not text:
        return EMPTY
    if text in _KNOWN:
        return _KNOWN[text]
    if text.startswith(("http://", "https://")):
        return URL
    if len(text) <= _LONGEST_PATTERN and text.isascii() and text.isprintable():
        if _CLOCK.fullmatch(text):
            return "text " + re.sub(r"\d", "9", text)
        if 2 * sum(c.isdigit() for c in text) >= sum(c.isalnum() for c in text) > 0:
            return "text " + _RUN.sub(_run, text)
    most = max(4, 1 << (len(text) - 1).bit_length())
    return f"text, up to {most}: {', '.join(_classes(text))}"


def _run(found: re.Match[str]) -> str:
    run = found[0]
    return ("9" if run.isdigit() else "A" if run.isalpha() else "X") * len(run)


def _classes(text: str) -> list[str]:
    classes = {
        "letters": any(c.isascii() and c.isalpha() for c in text),
        "digits": any(c.isascii() and c.isdigit() for c in text),
        "spaces": " " in text,
        "punctuation": any(c.isascii() and c.isprintable() and not c.isalnum() and c != " " for c in text),
        "beyond ASCII": any(ord(c) > 0x9F for c in text),
    }
    controls = sorted({ord(c) for c in text if ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F})
    return [name for name, there in classes.items() if there] + [f"control {code}" for code in controls]
