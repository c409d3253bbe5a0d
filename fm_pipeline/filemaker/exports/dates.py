"""Dates and timestamps of an export in ISO form. Their order is proved by the file or named, never guessed.

`18/10/2016` proves that the day is first, `10/18/2016` that the month is, `2016-10-18` needs no proof. One date proves
the order of a whole file, because FileMaker writes all dates of an export in the format of the file. Texts that are no
dates stay as they are: a rule reports them when the record is staged. A text that begins with a date never keeps it in
the order of the file, whatever follows it: staging would read it month first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date

from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.options import DateOrder, TypedOrder

_YEAR_FIRST = re.compile(r"(\d{4})([/.-])(\d{1,2})\2(\d{1,2})", re.ASCII)
_YEAR_LAST = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})", re.ASCII)
# Also 18. 10. 2016, and as in Hungary and Korea 2016. 10. 18.
_BEGINS = re.compile(r"\d{1,4}([/.-]) ?\d{1,2}\1 ?\d{1,4}(?!\d)\.?", re.ASCII)
# With points as in Denmark and Finland. The blank in front of AM or PM may be one that does not break, as macOS writes
# it.
_CLOCK = re.compile(
    r" (?P<H>\d{1,2})(?P<sep>[:.])(?P<M>\d{2})(?:(?P=sep)(?P<S>\d{2})(?:[.,](?P<f>\d+))?)?"
    r"(?:[ \xa0\u202f]?(?P<half>[AaPp])\.?[ \xa0\u202f]?[Mm]\.?)?",
    re.ASCII,
)
_BLANKS = " \t\r\n\v\xa0"  # at the ends of what people type into a text field
_MOST_KEPT = 1 << 17  # texts; the days of a hundred years are fewer, and so are the seconds of a day
_WORDS = {"dmy": "day first", "mdy": "month first", "iso": "year first"}


class DateReader:
    """Converts the dates of one file, and collects what proves or contradicts their order.

    Args:
        order: None while it is not known.
        is_named: the profile or the file says so, so that nothing has to be proved.
    """

    def __init__(self, order: DateOrder | None, *, is_named: bool = False) -> None:
        self.order = order
        self.is_named = is_named
        self.proofs = {"dmy": 0, "mdy": 0}
        self.ambiguous = 0
        self._iso_days = _Kept(self._day_of)
        self._clocks = _Kept(_clock)

    def proved(self) -> TypedOrder | None:
        """Return the order that the dates prove; None if they prove none, or both."""
        if bool(self.proofs["dmy"]) == bool(self.proofs["mdy"]):
            return None
        return "dmy" if self.proofs["dmy"] else "mdy"

    def convert(self, column: Sequence[str]) -> list[str]:
        """Return a column with its dates as `YYYY-MM-DD` and its timestamps as `YYYY-MM-DDTHH:MM:SS`."""
        days, clocks = self._iso_days, self._clocks
        try:  # in a third of the time
            if not any(" " in text for text in column[:8]):
                return [days[text] for text in column]
        except KeyError:
            pass
        try:
            return [days[day] + clocks[blank + clock] for day, blank, clock in [text.partition(" ") for text in column]]
        except KeyError:  # a text that is no date is among them
            return [self._moment(text) for text in column]

    def refuse_unproved(self, name: str) -> None:
        """Raise if the dates that were converted contradict their order, or if they have none.

        Raises:
            ExportStop: says how to name the order.
        """
        first, second = self.proofs["dmy"], self.proofs["mdy"]
        if self.is_named:
            wrong = {"dmy": second > first, "mdy": first > second, "iso": first + second + self.ambiguous > 0}
            contradicts = bool(self.order and wrong[self.order])
        else:
            contradicts = bool(first and second)
        if contradicts:
            said = f" They were said to be {_WORDS[self.order]}." if self.is_named and self.order else ""
            raise ExportStop(
                f"The dates of {name} contradict each other: {first:,} different ones must be day first, {second:,}"
                f" month first.{said}",
                meaning="Some would become other days. Nothing was read.",
                remedy="Look at the date fields in FileMaker, and correct `dates` under `export` of the entity in the"
                " mapping profile (dmy, mdy or iso).",
            )
        if self.order is None and self.ambiguous:
            raise ExportStop(
                f"Whether the dates of {name} are written day first or month first cannot be told: no date has a day"
                " above the 12th.",
                meaning="A wrong guess would make other days of them. Nothing was read.",
                remedy="Write `dates: dmy` or `dates: mdy` under `export` of the entity in the mapping profile.",
            )

    def _moment(self, text: str) -> str:
        day, blank, clock = text.partition(" ")
        try:
            return self._iso_days[day] + self._clocks[blank + clock]
        except KeyError:
            pass
        plain = text.strip(_BLANKS)
        found = _BEGINS.match(plain)
        if not found:
            return text
        try:
            day = self._iso_days[found[0].replace(" ", "").rstrip(".")]
        except KeyError:
            return text
        rest = plain[found.end() :]
        clock = rest.lstrip("T" + _BLANKS)
        try:
            return day + self._clocks[f" {clock}" if clock else ""]
        except KeyError:  # such as 24:00:00
            return day + rest

    def _day_of(self, text: str) -> str | None:
        """Return a date in ISO form; None if it is none."""
        if not text:
            return ""
        if found := _YEAR_FIRST.fullmatch(text):
            return _iso(found[1], found[3], found[4])
        found = _YEAR_LAST.fullmatch(text)
        return self._ordered(found[1], found[3], found[4]) if found else None

    def _ordered(self, first: str, second: str, year: str) -> str | None:
        dmy, mdy = _iso(year, second, first), _iso(year, first, second)
        if dmy and mdy:
            if dmy == mdy:
                return dmy
            self.ambiguous += 1
            return dmy if self.order == "dmy" else mdy if self.order == "mdy" else None
        if dmy or mdy:
            self.proofs["dmy" if dmy else "mdy"] += 1
        return dmy if self.order == "dmy" else mdy if self.order == "mdy" else None


class _Kept(dict[str, str]):
    """Texts and what they are converted to; a KeyError for a text that cannot be converted."""

    def __init__(self, convert: Callable[[str], str | None]) -> None:
        super().__init__()
        self._convert = convert
        self._refused: set[str] = set()

    def __missing__(self, text: str) -> str:
        if text in self._refused:
            raise KeyError
        converted = self._convert(text)
        if converted is None:
            if len(self._refused) < _MOST_KEPT:
                self._refused.add(text)
            raise KeyError
        if len(self) < _MOST_KEPT:
            self[text] = converted
        return converted


def _iso(year: str, month: str, day: str) -> str | None:
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None


def _clock(text: str) -> str | None:
    """Return the time of the day behind a date as `THH:MM:SS`; None if it is none."""
    if not text:
        return ""
    found = _CLOCK.fullmatch(text)
    if not found:
        return None
    hours = int(found["H"])
    if found["half"]:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if found["half"] in "Pp" else 0)
    seconds, fraction = found["S"] or "00", (found["f"] or "").rstrip("0")
    if hours > 23 or found["M"] > "59" or seconds > "59":
        return None
    return f"T{hours:02d}:{found['M']}:{seconds}" + (f".{fraction}" if fraction else "")


def time_of_day(text: str) -> str:
    """Return a time as `HH:MM:SS`; a duration of a day and more, and what is no time, stay as they are."""
    clock = _clock(f" {text}") if text else None
    return clock.removeprefix("T") if clock else text


def stated_order(pattern: str) -> DateOrder | None:
    """Return the order of a pattern such as `D.m.yyyy`, as XML states it; None if it is no such pattern."""
    letters = "".join(dict.fromkeys(re.sub("[^dmy]", "", pattern.lower())))
    orders: dict[str, DateOrder] = {"dmy": "dmy", "mdy": "mdy", "ymd": "iso"}
    return orders.get(letters)
