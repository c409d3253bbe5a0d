"""Dates, times and timestamps of FileMaker. `time_zone.py` turns the clinic's time into UTC.

Source: docs/mapping.md, "Dates and times". Month first or ISO, nothing is guessed; `typed_dates.py` brings dates of
text fields into that form. The functions take trimmed text and return the value and the ids of the rules that noticed
something; none of them raises.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from fm_pipeline.staging.values.time_zone import UNREADABLE, midnight_of_a_plain_day

_DAY = timedelta(days=1)
_DATE = r"(?:(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})|(?P<iy>\d{4})-(?P<im>\d{2})-(?P<id>\d{2}))"
_TIME = r"(?:(?P<next>1 day), *)?(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:\.(?P<f>\d+))?)? *(?P<half>[AP]M)?"
_FLAGS = re.ASCII | re.IGNORECASE
_TIME_ALONE = re.compile(_TIME, _FLAGS)
_DATE_AND_TIME = re.compile(rf"{_DATE}(?:(?: +|T){_TIME})?", _FLAGS)


class Moment(NamedTuple):
    """A date and a time as FileMaker has them; `time` counts from the date's midnight and may exceed a day."""

    date: date | None
    time: timedelta | None


NOTHING = Moment(None, None)
# `MM/DD/YYYY HH:MM:SS` or `YYYY-MM-DDTHH:MM:SS`, which nearly all are.
_USUAL_LENGTH = len("MM/DD/YYYY HH:MM:SS")
_USUAL_MINUTES, _USUAL_SECONDS = re.compile("([01][0-9]|2[0-3]):([0-5][0-9])"), re.compile(":([0-5][0-9])")


def read_moment(text: str) -> tuple[Moment, list[str]]:
    """A date with or without a time behind it. Empty text is no date and no time."""
    if not text:
        return NOTHING, []
    if len(text) == _USUAL_LENGTH and text[10] in " T" and (usual := _read_usual(text)):
        return usual, []
    return _read_any(text)


def _read_any(text: str) -> tuple[Moment, list[str]]:
    found = _DATE_AND_TIME.fullmatch(text)
    if found is None:
        return NOTHING, [UNREADABLE]
    try:
        day = date(int(found["y"] or found["iy"]), int(found["m"] or found["im"]), int(found["d"] or found["id"]))
    except ValueError:
        return NOTHING, [UNREADABLE]
    if found["H"] is None:
        return Moment(day, None), []
    time = _time_of(found)
    return (Moment(day, time), []) if time is not None else (NOTHING, [UNREADABLE])


def read_usual_timestamp(text: str, zone: ZoneInfo) -> datetime | None:
    """A date and time of the usual form in UTC, if the clocks do not change around that day; None for anything else.

    It gives what `read_moment` and `to_utc` give, without a rule, in a quarter of the time.
    """
    if len(text) != _USUAL_LENGTH or text[10] not in " T":
        return None
    midnight, minutes, seconds = (
        _usual_midnight(text[:10], zone),
        _usual_minutes(text[11:16]),
        _usual_seconds(text[16:]),
    )
    if midnight is None or minutes is None or seconds is None:
        return None
    return midnight + minutes + seconds


def _read_usual(text: str) -> Moment | None:
    """A date and a time of the usual form, in a third of the time; None for anything else."""
    day, minutes, seconds = _read_usual_day(text[:10]), _usual_minutes(text[11:16]), _usual_seconds(text[16:])
    return None if day is None or minutes is None or seconds is None else Moment(day, minutes + seconds)


@lru_cache(maxsize=8192)  # the days of twenty years
def _usual_midnight(text: str, zone: ZoneInfo) -> datetime | None:
    day = _read_usual_day(text)
    return midnight_of_a_plain_day(day, zone) if day else None


@lru_cache(maxsize=8192)
def _read_usual_day(text: str) -> date | None:
    moment, _ = _read_any(text)
    return moment.date


@lru_cache(maxsize=2048)  # the minutes of a day, and some that are none
def _usual_minutes(text: str) -> timedelta | None:
    found = _USUAL_MINUTES.fullmatch(text)
    return timedelta(hours=int(found[1]), minutes=int(found[2])) if found else None


@lru_cache(maxsize=256)
def _usual_seconds(text: str) -> timedelta | None:
    found = _USUAL_SECONDS.fullmatch(text)
    return timedelta(seconds=int(found[1])) if found else None


def read_date(text: str) -> tuple[date | None, list[str]]:
    """A date; a time behind it is dropped."""
    moment, rules = read_moment(text)
    return moment.date, rules


def read_time(text: str) -> tuple[timedelta | None, list[str]]:
    """A time of the day, counted from midnight: `24:00:00` is a whole day, `1 day, 09:30:00` is 33.5 hours.

    So is `33:30:00`, as FileMaker itself shows such a time.
    """
    if not text:
        return None, []
    found = _TIME_ALONE.fullmatch(text)
    time = _time_of(found) if found else None
    return time, [] if time is not None else [UNREADABLE]


@lru_cache(maxsize=4096)
def _whole(hours: int, minutes: int, seconds: int) -> timedelta:
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _time_of(found: re.Match[str]) -> timedelta | None:
    hours, minutes, seconds = int(found["H"]), int(found["M"]), int(found["S"] or 0)
    if minutes > 59 or seconds > 59:
        return None
    if found["half"]:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if found["half"].upper() == "PM" else 0)
    time = _whole(hours, minutes, seconds)
    if found["f"]:
        time += timedelta(microseconds=int(found["f"][:6].ljust(6, "0")))
    if found["next"]:
        return time + _DAY if time < _DAY else None
    # FileMaker shows every time with its seconds.
    return time if time <= _DAY or (found["S"] and time < 2 * _DAY) else None
