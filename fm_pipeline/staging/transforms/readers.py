"""One record as a staged row, by the readers that the registry names for its columns; docs/mapping.md, "Readers".

Patients, appointments and files have functions of their own, and what a profile adds to them is read here too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fm_pipeline.db.table import Column
from fm_pipeline.entities.registry import ENTITIES, Entity, Feed
from fm_pipeline.staging.record import Record
from fm_pipeline.staging.transforms.appointments import transform_appointment
from fm_pipeline.staging.transforms.file_links import transform_file_link
from fm_pipeline.staging.transforms.patients import transform_patient
from fm_pipeline.staging.values.choices import CHOICES, read_boolean
from fm_pipeline.staging.values.numbers import read_number

# A value as COPY takes it, by the column of the staged table.
Row = dict[str, object]
Read = Callable[[Record], object]

_OWN_FUNCTIONS: Mapping[str, Callable[[Record], Row]] = {
    "patient": transform_patient,
    "appointment": transform_appointment,
    "document": transform_file_link,
    "image": transform_file_link,
}


def transform_of(entity: Entity, columns: Mapping[str, Column]) -> Callable[[Record], Row]:
    """Return the function that makes a row from a record: values by staged column. It notes findings in the record.

    Args:
        columns: of the Nexus table, by name; empty for documents and images.
    """
    own = _OWN_FUNCTIONS.get(entity.name)
    given = ENTITIES[entity.name].columns.keys() if own else ()
    reads = [
        ("source_created_at" if name == "created_at" else name, _READERS[source.kind](source, columns.get(name)))
        for name, source in entity.columns.items()
        if name not in given
    ]
    if own is None:
        return lambda record: {name: read(record) for name, read in reads}
    if not reads:
        return own
    return lambda record: own(record) | {name: read(record) for name, read in reads}


def _line(source: Feed, column: Column | None) -> Read:
    """One-line text."""
    return _text(Record.line, source, column)


def _lines(source: Feed, column: Column | None) -> Read:
    """Text of several lines."""
    return _text(Record.lines, source, column)


def _text(read: Callable[[Record, str], str], source: Feed, column: Column | None) -> Read:
    """Empty text is NULL where the column allows it, else ''."""
    (field, *_), rule, nothing = source.fields, source.empty, None if _may_be_null(column) else ""

    def text(record: Record) -> str | None:
        value = read(record, field)
        if rule and not value.strip():
            record.notice(rule, field)
        return value or nothing

    return text


def _key(source: Feed, column: Column | None) -> Read:
    """The FileMaker id: as it is compared, or in a column of text as it is spelt."""
    if column is not None and column.type == "uuid":
        return lambda record: record.key
    return lambda record: record.line(source.fields[0])


def _choice(source: Feed, _column: Column | None) -> Read:
    """One of the values that Nexus has for it."""
    field, read = source.fields[0], CHOICES[source.names]
    return lambda record: record.choice(field, read)


def _date(source: Feed, column: Column | None) -> Read:
    return _needed(lambda record: record.date(source.fields[0]), source, column)


def _timestamp(source: Feed, column: Column | None) -> Read:
    field = source.fields[0]
    if column is not None and column.name == "created_at":  # the time of the run stands in for it
        return lambda record: record.timestamp(field)
    return _needed(lambda record: record.timestamp(field), source, column)


def _boolean(source: Feed, _column: Column | None) -> Read:
    """FileMaker's flag."""
    return lambda record: record.choice(source.fields[0], read_boolean)


def _number(source: Feed, column: Column | None) -> Read:
    """A number that the column can hold; the text of it, so that no digit is lost on the way."""
    kind = column.type if column else "numeric"
    return _needed(lambda record: record.choice(source.fields[0], lambda text: read_number(text, kind)), source, column)


def _look_up(source: Feed, column: Column | None) -> Read:
    """Look up a Nexus id by a name, or rather by the FileMaker id, if a second field has it."""
    name, (field, *by_id), rule = source.names, source.fields, source.empty
    return _needed(lambda record: record.look_up(name, empty=rule, field=field, by_id=by_id), source, column)


def _parent(source: Feed, column: Column | None) -> Read:
    """The Nexus id of the parent, without which the record is not loaded."""
    if (source.names, source.fields[0]) == ("patient", "patient"):
        return lambda record: record.patient_id
    return _reference(source, column)


def _reference(source: Feed, _column: Column | None) -> Read:
    """The Nexus id of the record that a field names; it was looked up when the record was read."""
    field = source.fields[0]
    return lambda record: (record.parents or {}).get(field)


def _needed(read: Read, source: Feed, column: Column | None) -> Read:
    """A value without which the row cannot be, where the column may not be NULL."""
    if _may_be_null(column):
        return read

    def needed(record: Record) -> object:
        value = read(record)
        if value is None:
            record.notice("value_missing", source.fields[0])
        return value

    return needed


def _may_be_null(column: Column | None) -> bool:
    return column is None or not column.not_null


_READERS: Mapping[str, Callable[[Feed, Column | None], Read]] = {
    "line": _line,
    "lines": _lines,
    "key": _key,
    "choice": _choice,
    "date": _date,
    "timestamp": _timestamp,
    "boolean": _boolean,
    "number": _number,
    "lookup": _look_up,
    "parent": _parent,
    "reference": _reference,
}
