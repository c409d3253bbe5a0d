"""One raw record while it is transformed: it reads fields by their kind and remembers what the rules noticed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from zoneinfo import ZoneInfo

from fm_pipeline.filemaker.model import GROUP_SEPARATOR
from fm_pipeline.staging.values.dates import (
    Moment,
    read_date,
    read_moment,
    read_time,
    read_usual_timestamp,
)
from fm_pipeline.staging.values.keys import as_key
from fm_pipeline.staging.values.names import NameIndex
from fm_pipeline.staging.values.text import NO_ACCESS, one_line, several_lines
from fm_pipeline.staging.values.time_zone import to_utc
from fm_pipeline.staging.values.typed_dates import TypedDates

MIDNIGHT = dt.timedelta(0)
T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """What a transformation knows besides the record.

    Attributes:
        zone: the clinic's time zone.
        today: the clinic's date.
        fed: the canonical fields that the extraction has.
        names: the Nexus rows that are looked up by name: clinic, clinician, appointment_type, funding.
        clinics_by_filemaker_id: clinic ids by the key of their FileMaker id.
        typed_dates: by canonical field, what reads the dates that people have typed into a text field.
    """

    zone: ZoneInfo
    today: dt.date
    fed: frozenset[str]
    names: Mapping[str, NameIndex]
    clinics_by_filemaker_id: Mapping[str, str]
    typed_dates: Mapping[str, TypedDates] = field(default_factory=dict)


@dataclass(slots=True)
class Record:
    """A source record.

    Attributes:
        key: the FileMaker id as it is compared.
        patient_key: the same of the patient it belongs to; `''` without one.
        inputs: hash of everything that its row is made from.
        unit: of a patient or contact detail, the key of the patient: they are built together.
        nexus_id: the id that its row has in Nexus, if it has one.
        patient_id: the Nexus id of its patient, if that one is loaded.
        parents: Nexus ids of the other records that it names, by canonical field. None: it names none.
        is_plain: all its texts are printable ASCII without `<`, so that no rule about texts can notice anything.
        long: characters of its fields if they are so many that memory has to be thought of, else 0.
        noticed: pairs of rule id and field.
    """

    record_id: int
    key: str
    patient_key: str
    fields: Mapping[str, object]
    context: Context
    inputs: int
    is_plain: bool = False
    unit: str | None = None
    nexus_id: str | None = None
    patient_id: str | None = None
    long: int = 0
    parents: Mapping[str, str] | None = None
    noticed: dict[tuple[str, str], None] = field(default_factory=dict)  # a set that keeps its order

    def notice(self, rule: str, name: str = "") -> None:
        """Remember that a rule noticed something, in a field or in the whole record."""
        self.noticed[rule, name] = None

    def line(self, name: str) -> str:
        """A field as one-line text."""
        value = self.fields.get(name)
        if value is None:
            return ""
        # Nearly every value is such a text, in which no rule could notice anything.
        if isinstance(value, str) and (self.is_plain or (value.isprintable() and "<" not in value)):
            return value.strip(" ")
        return self._text(name, one_line)

    def lines(self, name: str) -> str:
        """A field as text of several lines."""
        value = self.fields.get(name)
        if value is None:
            return ""
        if isinstance(value, str) and (self.is_plain or (value.isprintable() and "<" not in value)):
            return value.rstrip(" ")
        return self._text(name, several_lines)

    def _text(self, name: str, clean: Callable[[object], tuple[str, list[str]]]) -> str:
        value = self.fields.get(name)
        if value is None or value == "":
            return ""
        text, rules = clean(value)
        for rule in rules:
            self.notice(rule, name)
        # Of a field that repeats, each repetition shows it.
        if NO_ACCESS in text and any(part.strip() == NO_ACCESS for part in text.split(GROUP_SEPARATOR)):
            self.notice("field_not_readable", name)
            return ""
        return text

    def choice(self, name: str, read: Callable[[str], tuple[T, list[str]]]) -> T:
        """A field read by a function that takes one-line text."""
        return self._read(name, self.line(name), read)

    def _read(self, name: str, text: str, read: Callable[[str], tuple[T, list[str]]]) -> T:
        value, rules = read(text)
        for rule in rules:
            self.notice(rule, name)
        return value

    def _date_line(self, name: str) -> str:
        """A field with a date as one-line text, with the date in a form that can be read."""
        text, typed = self.line(name), self.context.typed_dates.get(name)
        return self._read(name, text, typed.read) if typed and text else text

    def date(self, name: str) -> dt.date | None:
        """A field as a date."""
        return self._read(name, self._date_line(name), read_date)

    def time(self, name: str) -> dt.timedelta | None:
        """A field as a time of the day."""
        return self.choice(name, read_time)

    def moment(self, name: str) -> Moment:
        """A field as a date with or without a time."""
        return self._read(name, self._date_line(name), read_moment)

    def timestamp(self, name: str) -> dt.datetime | None:
        """A field as a moment in UTC; a date alone is its midnight."""
        text = self._date_line(name)
        if not text:
            return None
        if usual := read_usual_timestamp(text, self.context.zone):
            return usual
        moment = self._read(name, text, read_moment)
        return self.utc(moment.date, moment.time or MIDNIGHT, name) if moment.date else None

    def utc(self, day: dt.date, time: dt.timedelta, name: str) -> dt.datetime | None:
        """The clinic's time as UTC."""
        value, rules = to_utc(day, time, self.context.zone)
        for rule in rules:
            self.notice(rule, name)
        return value

    def look_up(
        self, name: str, *, empty: str, field: str = "", by_id: Sequence[str] = ("clinic_filemaker_id",)
    ) -> str | None:
        """Return the Nexus id of the row that a field names.

        Args:
            name: what is looked up, which is also the beginning of the rules `_unknown` and `_ambiguous`; of a
                `table.column` these are `name_unknown` and `name_ambiguous`.
            empty: the rule for an empty field, if that breaks one.
            field: if it is not called by the name.
            by_id: of a clinic, the field with its FileMaker id, which counts first.
        """
        field = field or name
        text = self.line(field)
        if name == "clinic" and by_id:
            filemaker_id = self.line(by_id[0])
            key = as_key(filemaker_id) if filemaker_id else ""
            if found_by_id := self.context.clinics_by_filemaker_id.get(key):
                return found_by_id
            if key and not text:
                self.notice("clinic_unknown", by_id[0])
                return None
        if not text:
            if empty:
                self.notice(empty, field)
            return None
        found = self.context.names[name].find(text)
        if found.fault:
            self.notice(f"{'name' if '.' in name else name}_{found.fault}", field)
        return found.id
