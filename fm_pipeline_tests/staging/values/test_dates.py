"""Dates, times, and the two Sundays on which the clinic's clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_pipeline.errors import SettingsError
from fm_pipeline.staging.values.dates import (
    Moment,
    read_date,
    read_moment,
    read_time,
    read_usual_timestamp,
)
from fm_pipeline.staging.values.time_zone import read_zone, to_utc

SYDNEY = ZoneInfo("Australia/Sydney")
HALF_PAST_TWO = timedelta(hours=2, minutes=30)


@pytest.mark.parametrize(
    "text",
    [
        "01/02/1980",
        "1/2/1980",
        "1980-01-02",
        "01/02/1980 00:00:00",
        "01/02/1980 24:00:00",
        "1980-01-02T00:00:00",
        "1980-01-02 11:30 PM",
        "01/02/1980 1 day, 09:30:00",
    ],
)
def test_case_6_a_date_is_month_first_or_iso_and_a_time_behind_it_is_dropped(text: str) -> None:
    assert read_date(text) == (date(1980, 1, 2), [])


@pytest.mark.parametrize(
    "text",
    [
        "31/12/1980",
        "13/01/1980",
        "02/31/2020",
        "02/29/2023",
        "2023-02-29",
        "01/02/80",
        "80-01-02",
        "1980/01/02",
        "1980-1-2",
        "01.02.1980",
        "2 Jan 1980",
        "00/01/1980",
        "01/02/0000",
        "01/02/19800",
        "01/02/1980 25:00",
        "01/02/1980 48:00:00",
        "01/02/1980 noon",
        "01/02/1980T",
        "١٢/٠١/١٩٨٠",
        "?",
        "1e5",
    ],
)
def test_case_6_every_other_text_is_unreadable_and_never_guessed(text: str) -> None:
    assert read_date(text) == (None, ["date_unreadable"])


def test_a_leap_day_is_a_day() -> None:
    assert read_date("02/29/2024") == (date(2024, 2, 29), [])


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("9:30", 9.5),
        ("09:30", 9.5),
        ("09:30:00", 9.5),
        ("0:00", 0),
        ("12:00 AM", 0),
        ("12:30 pm", 12.5),
        ("9:30AM", 9.5),
        ("11:30:00 PM", 23.5),
        ("24:00:00", 24),
        ("24:00", 24),
        ("1 day, 09:30:00", 33.5),
        ("1 day, 0:00:00", 24),
        ("33:30:00", 33.5),
        ("47:30:00.0", 47.5),
        ("09:30:00.000", 9.5),
    ],
)
def test_case_6_times_in_all_their_spellings(text: str, hours: float) -> None:
    assert read_time(text) == (timedelta(hours=hours), [])


@pytest.mark.parametrize(
    "text",
    ["24:60:01", "24:30", "25:00", "48:00:00", "25:00:00 AM", "9:60", "09:30:60", "13:00 PM", "0:30 AM", "9",
     "930", "2 days, 09:30:00",
     "1 day, 24:00:00", "-1:00", "9.30", "09:30Z", "٠٩:٣٠"],
)  # fmt: skip
def test_every_other_time_is_unreadable(text: str) -> None:
    assert read_time(text) == (None, ["date_unreadable"])


def test_nothing_is_read_from_an_empty_field() -> None:
    assert read_date("") == (None, [])
    assert read_time("") == (None, [])
    assert read_moment("") == (Moment(None, None), [])


def test_a_timestamp_keeps_its_time() -> None:
    assert read_moment("10/05/2017 09:30:00") == (Moment(date(2017, 10, 5), timedelta(hours=9.5)), [])
    assert read_moment("2017-10-05T00:00:00") == (Moment(date(2017, 10, 5), timedelta(0)), [])


@pytest.mark.parametrize(
    ("day", "clock", "utc"),
    [
        (date(2026, 1, 15), timedelta(hours=9), datetime(2026, 1, 14, 22, 0, tzinfo=UTC)),  # summer: UTC+11
        (date(2026, 7, 15), timedelta(hours=9), datetime(2026, 7, 14, 23, 0, tzinfo=UTC)),  # winter: UTC+10
        (date(2026, 7, 15), timedelta(hours=24), datetime(2026, 7, 15, 14, 0, tzinfo=UTC)),
        (date(2026, 7, 15), timedelta(hours=33.5), datetime(2026, 7, 15, 23, 30, tzinfo=UTC)),
    ],
)
def test_the_clinics_time_is_stored_as_utc(day: date, clock: timedelta, utc: datetime) -> None:
    assert to_utc(day, clock, SYDNEY) == (utc, [])


def test_case_6_an_hour_that_does_not_exist_is_moved_forward_by_the_gap() -> None:
    moment, rules = to_utc(date(2025, 10, 5), HALF_PAST_TWO, SYDNEY)
    assert rules == ["time_in_dst_gap"]
    assert moment == datetime(2025, 10, 4, 16, 30, tzinfo=UTC)
    assert moment.astimezone(SYDNEY).strftime("%H:%M %z") == "03:30 +1100"


def test_case_6_of_an_hour_that_exists_twice_it_is_the_first() -> None:
    moment, rules = to_utc(date(2025, 4, 6), HALF_PAST_TWO, SYDNEY)
    assert rules == ["time_in_dst_overlap"]
    assert moment == datetime(2025, 4, 5, 15, 30, tzinfo=UTC)
    assert moment.astimezone(SYDNEY).strftime("%H:%M %z") == "02:30 +1100"


@pytest.mark.parametrize(
    ("day", "hours", "rules"),
    [
        (date(2025, 10, 5), 1.99, []),
        (date(2025, 10, 5), 2, ["time_in_dst_gap"]),
        (date(2025, 10, 5), 3, []),
        (date(2025, 4, 6), 1.99, []),
        (date(2025, 4, 6), 2, ["time_in_dst_overlap"]),
        (date(2025, 4, 6), 3, []),
        (date(2025, 10, 4), 26.5, ["time_in_dst_gap"]),  # 1 day, 02:30:00
    ],
)
def test_case_6_only_the_one_hour_is_noticed(day: date, hours: float, rules: list[str]) -> None:
    assert to_utc(day, timedelta(hours=hours), SYDNEY)[1] == rules


def test_a_day_at_the_end_of_all_time_is_unreadable_and_no_crash() -> None:
    assert to_utc(date(1, 1, 1), timedelta(0), SYDNEY) == (None, ["date_unreadable"])
    assert to_utc(date(9999, 12, 31), timedelta(days=1), SYDNEY) == (None, ["date_unreadable"])


@pytest.mark.parametrize("name", ["Sydney", "", "../etc/passwd", "Australia", "Australia/\0"])
def test_a_wrong_time_zone_is_a_setting_to_correct(name: str) -> None:
    with pytest.raises(SettingsError, match="CLINIC_TIME_ZONE"):
        read_zone(name)


@given(st.dates())
def test_both_spellings_of_every_date_are_read(day: date) -> None:
    american = f"{day.month:02}/{day.day:02}/{day.year:04}"
    assert read_date(american) == read_date(day.isoformat()) == (day, [])


@given(st.times())
def test_every_time_of_the_day_is_read(clock: time) -> None:
    expected = timedelta(hours=clock.hour, minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond)
    assert read_time(clock.isoformat()) == (expected, [])


@given(st.text() | st.from_regex(r"\A[0-9/: T,.-]{0,24}\Z"))
def test_no_text_at_all_raises(text: str) -> None:
    for read in (read_date, read_time, read_moment):
        value, rules = read(text)
        assert rules in ([], ["date_unreadable"])
        assert not (rules and any(part is not None for part in (value if isinstance(value, tuple) else (value,))))


@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_every_time_that_exists_once_comes_back_the_same(local: datetime) -> None:
    moment, rules = to_utc(local.date(), local - datetime(local.year, local.month, local.day), SYDNEY)  # noqa: DTZ001
    assert moment is not None
    if not rules:
        assert moment.astimezone(SYDNEY).replace(tzinfo=None) == local


@pytest.mark.parametrize("name", ["Australia/Sydney", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"])
@given(
    day=st.dates(date(1950, 1, 1), date(2090, 1, 1)) | st.sampled_from([date(2025, 10, 5), date(2025, 4, 6)]),
    clock=st.timedeltas(timedelta(0), timedelta(hours=48)),
)
def test_days_without_a_change_of_the_clocks_are_read_as_every_day_is(name: str, day: date, clock: timedelta) -> None:
    # The shortcut for plain days, against the words of PEP 495.
    zone = ZoneInfo(name)
    local = datetime(day.year, day.month, day.day, tzinfo=zone) + clock
    first, second = local.utcoffset(), local.replace(fold=1).utcoffset()
    assert first is not None
    assert second is not None
    rule = [] if first == second else ["time_in_dst_gap" if first < second else "time_in_dst_overlap"]
    assert to_utc(day, clock, zone) == (local.astimezone(UTC), rule)


@given(
    st.from_regex(r"\A[0-1][0-9]/[0-3][0-9]/[0-9]{4}\Z"),
    st.from_regex(r"\A[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\Z") | st.sampled_from(["24:00:00", "٠٩:٣٠:٠٠", "9:30 :00"]),
)
def test_the_usual_timestamp_is_read_as_its_date_and_its_time(day: str, clock: str) -> None:
    moment, rules = read_moment(f"{day} {clock}")
    read_day, read_clock = read_date(day)[0], read_time(clock)[0]
    if read_day is not None and read_clock is not None:
        assert (moment, rules) == (Moment(read_day, read_clock), [])
    else:
        assert (moment, rules) == (Moment(None, None), ["date_unreadable"])


@pytest.mark.parametrize("form", ["%m/%d/%Y %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])
@given(local=st.datetimes(datetime(1950, 1, 1), datetime(2090, 1, 1)))  # noqa: DTZ001
def test_a_timestamp_that_is_read_at_once_is_what_its_date_and_time_are_in_utc(form: str, local: datetime) -> None:
    text = local.strftime(form)
    moment, _ = read_moment(text)
    assert moment.date is not None
    assert moment.time is not None
    found, (value, rules) = read_usual_timestamp(text, SYDNEY), to_utc(moment.date, moment.time, SYDNEY)
    assert found == value or found is None  # None on a day when the clocks change, and on the day before
    assert not rules or found is None


def test_both_usual_timestamps_are_read_at_once() -> None:
    noon = datetime(2026, 5, 4, 2, 0, 1, tzinfo=UTC)
    assert read_usual_timestamp("05/04/2026 12:00:01", SYDNEY) == noon
    assert read_usual_timestamp("2026-05-04T12:00:01", SYDNEY) == noon


@pytest.mark.parametrize(
    "text",
    ["05/04/2026 24:00:00", "05/04/2026 09:60:00", "5/4/2026 09:30:000", "04/05/2026 03:30:00", "13/04/2026 09:30:00"],
)
def test_a_timestamp_that_is_not_the_usual_one_is_left_to_the_rules(text: str) -> None:
    assert read_usual_timestamp(text, SYDNEY) is None
