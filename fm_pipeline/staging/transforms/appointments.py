"""Appointments: start and end from whatever the profile has (docs/mapping.md, "Appointments", "Dates and times").

They are times of the clinic's time zone; `values/time_zone.py` turns them into UTC.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple

from fm_pipeline.staging.record import MIDNIGHT, Record
from fm_pipeline.staging.values.choices import read_appointment_status, read_boolean
from fm_pipeline.staging.values.dates import Moment


def transform_appointment(record: Record) -> dict[str, object]:
    """The appointment's values by column."""
    start, end = _start_and_end(record)
    if start is None:
        record.notice("appointment_without_start")
    elif end is not None and end < start:
        record.notice("appointment_ends_before_start")
    return {
        "filemaker_event_id": record.key,
        "patient_id": record.patient_id,
        "clinic_id": record.look_up("clinic", empty="appointment_without_clinic"),
        "clinician_id": record.look_up("clinician", empty="appointment_without_clinician"),
        "appointment_type_id": record.look_up("appointment_type", empty="appointment_without_type"),
        "start_time": start,
        "end_time": end,
        "status": record.choice("status", read_appointment_status),
        "reason": record.lines("reason") or None,
        "notes": record.lines("notes") or None,
        "source_created_at": record.timestamp("created_at"),
    }


class _Point(NamedTuple):
    """A date and a time, and the field that it is from."""

    date: date
    time: timedelta | None
    field: str


def _start_and_end(record: Record) -> tuple[datetime | None, datetime | None]:
    all_day = record.choice("all_day", read_boolean)
    start = _point(record, "start", None)
    end = _point(record, "end", start)
    if all_day and start:
        day = end.date if end else start.date
        # 9999-12-31 has no next midnight; to_utc says so of a time that is too late.
        end = _Point(day, timedelta(days=1), "end")
    elif end and end.time is None:
        # Midnight would put it before the start of the same day, and the appointment would be kept out for it.
        record.notice("appointment_without_time", end.field)
        end = None
    return _moment(record, start, all_day), _moment(record, end, all_day)


def _point(record: Record, side: str, start: _Point | None) -> _Point | None:
    """`start` or `end`, else its date with its time; an end's time alone belongs to the start's date."""
    moment: Moment = record.moment(side)
    if moment.date or record.line(side):  # what cannot be read is not replaced by another field
        return _Point(moment.date, moment.time, side) if moment.date else None
    day, time = record.date(f"{side}_date"), record.time(f"{side}_time")
    if day:
        return _Point(day, time, f"{side}_date")
    if start and time is not None and not record.line(f"{side}_date"):
        return _Point(start.date, time, f"{side}_time")
    return None


def _moment(record: Record, point: _Point | None, all_day: bool) -> datetime | None:
    if point is None:
        return None
    if point.time is None and not all_day:
        record.notice("appointment_without_time", point.field)
    return record.utc(point.date, point.time or MIDNIGHT, point.field)
