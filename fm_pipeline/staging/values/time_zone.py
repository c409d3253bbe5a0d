"""The time zone of appointments and of every other time of FileMaker: the clinic's, the setting CLINIC_TIME_ZONE.

FileMaker stores what the clinic's clock showed, without a zone; Nexus stores UTC. Source: docs/mapping.md, "Dates and
times".
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from fm_pipeline.errors import SettingsError

UNREADABLE = "date_unreadable"

_DAY = timedelta(days=1)


def read_zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name.

    Raises:
        SettingsError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # an unknown name, the name of a folder, a path
        raise SettingsError(
            "CLINIC_TIME_ZONE is not the name of a time zone.",
            meaning="The times of FileMaker cannot be read without it.",
            remedy="Write it as Australia/Sydney or another name of the IANA time zone database.",
        ) from None


def to_utc(day: date, time: timedelta, zone: ZoneInfo) -> tuple[datetime | None, list[str]]:
    """The moment that a clinic's clock showed, in UTC.

    An hour that the clocks skip is moved forward by the gap; of an hour that they show twice it is the first.
    """
    midnight = midnight_of_a_plain_day(day, zone)
    if midnight:
        return midnight + time, []
    try:
        local = datetime(day.year, day.month, day.day, tzinfo=zone) + time
        first, second = local.utcoffset(), local.replace(fold=1).utcoffset()
        moment = local.astimezone(UTC)
    except OverflowError:  # the first and the last day that Python knows
        return None, [UNREADABLE]
    # PEP 495: in a gap fold=0 has the offset before it, the smaller one; in an overlap the larger one.
    if first is None or second is None or first == second:
        return moment, []
    return moment, ["time_in_dst_gap" if first < second else "time_in_dst_overlap"]


@lru_cache(maxsize=8192)  # the days of twenty years
def midnight_of_a_plain_day(day: date, zone: ZoneInfo) -> datetime | None:
    """The day's midnight in UTC, if the clocks do not change on that day or the next; None if they may."""
    try:
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
        # A time may exceed a day. Two changes within 48 hours that cancel out are in no zone of the IANA database:
        # the shortest time between any two is four days.
        ends = (midnight, midnight + 2 * _DAY)
        offsets = {end.replace(fold=fold).utcoffset() for end in ends for fold in (0, 1)}
        return midnight.astimezone(UTC) if len(offsets) == 1 else None
    except OverflowError:  # the first and the last days that Python knows
        return None
