"""A file after a recording: its layouts and table occurrences, with invented values in the recorded forms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fm_pipeline.filemaker.recorder.differences import RECORD_PATHS
from fm_pipeline.filemaker.recorder.forms import EMPTY, NULL, URL, coarse
from fm_pipeline.filemaker.recorder.recording import RecordedField, RecordedTable, Recording
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, FieldType, StoredContainerFile
from fm_pipeline.sandbox.filemaker.data.store import Store

_TYPES: dict[str, FieldType] = {
    "number": "number",
    "date": "date",
    "time": "time",
    "timeStamp": "timestamp",
    "container": "container",
}
_MOMENTS = {"date": "2001-02-03", "time": "10:11:12", "timeStamp": "2001-02-03T10:11:12"}
_EVERY_TYPE = "invented: every type"
_MOST_REPETITIONS = 20  # SQLite has 2,000 columns
_MOST_CELLS = 900
_FILE = StoredContainerFile(b"\x89PNG\r\n\x1a\n", name="invented.png", mime="image/png")


def invent_file(store: Store, database: str, recording: Recording) -> None:
    """Fill a database with what a recording describes."""
    made: set[str] = set()
    for table in recording.tables:  # layouts come first
        if table.name.casefold() in made:
            continue
        made.add(table.name.casefold())
        others = [each for each in recording.tables if each.name == table.name and each is not table]
        fields = _own_fields(table, others)
        definitions = [
            FieldDefinition(
                each.name, _TYPES.get(each.result, "text"), repetitions=min(each.repetitions, _MOST_REPETITIONS)
            )
            for each in fields
        ]
        store.create_table(database, table.name, definitions)
        if table.door == "data_api":
            on_layout = {each.name for each in table.fields}
            store.create_layout(
                database, table.name, table.name, [each.name for each in fields if each.name in on_layout]
            )
        rows = max(each.rows for each in [table, *others])
        cells = {name: values for each in fields for name, values in _cells(recording, table.name, each)}
        store.insert(
            database,
            table.name,
            ({name: values[number % len(values)] for name, values in cells.items()} for number in range(rows)),
        )
    # A real file has more tables, and $metadata describes all of them.
    store.create_table(database, _EVERY_TYPE, [FieldDefinition(kind, kind) for kind in ("text", *_TYPES.values())])


def _own_fields(table: RecordedTable, others: Sequence[RecordedTable]) -> list[RecordedField]:
    """Return the fields of all descriptions of a table, without those of related tables."""
    found: dict[str, RecordedField] = {}
    cells = 0
    for described in (table, *others):
        for each in described.fields:
            cells += min(each.repetitions, _MOST_REPETITIONS)
            if "::" not in each.name and cells <= _MOST_CELLS:
                found.setdefault(each.name, each)
    return list(found.values())


def _cells(recording: Recording, table: str, field: RecordedField) -> Iterator[tuple[str, list[object]]]:
    names = [field.name]
    if field.repetitions > 1:
        names = [f"{field.name}({number})" for number in range(1, min(field.repetitions, _MOST_REPETITIONS) + 1)]
    for name in names:
        yield name, _values(_forms(recording, table, name), field.result)


def _forms(recording: Recording, table: str, name: str) -> list[str]:
    """Return the forms of a field from the Data API, or from OData if only that was asked; one of each kind."""
    by_door: dict[str, dict[str, str]] = {}
    for step in recording.steps:
        if step.table == table:
            for exchange in step.exchanges:
                for form in (exchange.shape or {}).get(RECORD_PATHS[step.door] + name, []):
                    by_door.setdefault(step.door, {}).setdefault(coarse(form, dated=True), form)
    forms = list((by_door.get("data_api") or by_door.get("odata") or {}).values())
    return [*forms, EMPTY] if NULL in by_door.get("odata", {}) else forms  # the samples need not be the same


def _values(forms: Sequence[str], result: str) -> list[object]:
    values = list(dict.fromkeys(_value(form, result) for form in forms))
    return sorted(values, key=lambda value: value == "") or [""]  # the first record shows most


def _value(form: str, result: str) -> object:
    if form in (EMPTY, NULL) or form.startswith(("list", "object")):
        return ""
    if result == "container":
        return _FILE if form == URL else ""
    if result in _MOMENTS and re.search(r"9[-/.:]9", form):
        return _MOMENTS[result]
    return "-12.5" if form.startswith("number, minus") else "12" if form.startswith("number") else _text(form)


def _text(form: str) -> str:
    if form == URL:
        return "https://invented.example/"
    pattern = form.removeprefix("text ")
    if pattern != form:
        return pattern.replace("9", "1").replace("A", "a").replace("X", "x")
    controls = "".join(chr(int(code)) for code in re.findall(r"control (\d+)", form))
    return f"invented {controls}text"
