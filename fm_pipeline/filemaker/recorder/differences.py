"""Compares two recordings of the same questions: what a server answered, and what another one answers.

Status, code, type of content and the keys of the JSON must be equal. Of the forms of values only those are compared
that do not depend on the records: the types, and the patterns of dates. Portals, related fields, value lists, keys and
relations are not compared, because a recording does not describe them. Timings are not compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from fm_pipeline.filemaker.recorder.forms import coarse
from fm_pipeline.filemaker.recorder.recording import Exchange, RecordedStep, Recording

RECORD_PATHS = {"data_api": "response/data[]/fieldData/", "odata": "value[]/"}
_HEADERS = ("content-type", "odata-version", "location", "set-cookie", "x-fm-data-access-token")
_NOT_COMPARED = re.compile(
    r"(^|/)(portalData|portalDataInfo|portalMetaData|valueLists|Key|NavigationProperty\w*)\b|::|Property@Nullable$"
)
_DATED_STEPS = ("first page", "page without dateformats", "rows")  # whose first record decides
_DATED = ("date", "time", "timeStamp")
_DOORS = {"data_api": "Data API", "odata": "OData"}
_ON_THE_RECORD = ("message", "displayType", "type", "version", "buildDate")  # values that differ between equal servers


@dataclass(frozen=True, slots=True)
class AnswerDifference:
    """A difference: in which question, and what it is. Two are equal if they say the same."""

    where: str
    what: str


def differences(recorded: Recording, answered: Recording) -> list[AnswerDifference]:
    """Return where the answers of the stand-in differ from those that were recorded."""
    ours = {_key(step): step for step in answered.steps}
    fields = _Fields(recorded)
    shown = _shown(answered, fields)
    found: list[AnswerDifference] = []
    for step in recorded.steps:
        where = _where(step)
        other = ours.pop(_key(step), None)
        if other is None:
            found.append(AnswerDifference(where, "the stand-in was not asked, because an earlier answer differs"))
            continue
        if step.client != other.client:
            what = f"the client makes of it: {step.client}; of the stand-in's answer: {other.client}"
            found.append(AnswerDifference(where, what))
        for one, another in zip_longest(step.exchanges, other.exchanges):
            found += [AnswerDifference(where, what) for what in _of_exchange(one, another)]
            if one and another and _refused(one) == _refused(another):
                found += [AnswerDifference(where, what) for what in _of_values(step, one, fields, shown)]
    for step in ours.values():
        found.append(AnswerDifference(_where(step), "only the stand-in was asked, because an earlier answer differs"))
    return list(dict.fromkeys(found))


class _Fields:
    """The fields for dates by door and table."""

    def __init__(self, recording: Recording) -> None:
        self._dated = {
            (table.door, table.name, field.name)
            for table in recording.tables
            for field in table.fields
            if field.result in _DATED
        }

    def coarse(self, step: RecordedStep, path: str, form: str) -> str:
        name = path.removeprefix(RECORD_PATHS[step.door])
        if name == path:
            return "text" if form.startswith("is ") and path.rpartition("/")[2] in _ON_THE_RECORD else coarse(form)
        plain = re.sub(r"\(\d+\)$", "", name)
        dated = (step.door, step.table, plain) in self._dated or (step.door, step.table, name) in self._dated
        return coarse(form, dated=dated)


Shown = Mapping[tuple[str, ...], set[str]]
"""Coarse forms by door, table and path, and of dates by step too."""


def _shown(recording: Recording, fields: _Fields) -> Shown:
    shown: dict[tuple[str, ...], set[str]] = {}
    for step in recording.steps:
        for exchange in step.exchanges:
            for path, forms in (exchange.shape or {}).items():
                for form in forms:
                    text = fields.coarse(step, path, form)
                    shown.setdefault(_place(step, path, text), set()).add(text)
    return shown


def _place(step: RecordedStep, path: str, form: str) -> tuple[str, ...]:
    if form.startswith("text 9") and step.step in _DATED_STEPS:
        return (step.door, step.table, path, step.step)
    return (step.door, step.table, path)


def _of_values(step: RecordedStep, exchange: Exchange, fields: _Fields, shown: Shown) -> Iterator[str]:
    """Yield the forms that only the server shows."""
    for path, forms in (exchange.shape or {}).items():
        if not _is_compared(path):
            continue
        for form in sorted({fields.coarse(step, path, each) for each in forms}):
            if form.startswith("text 9") and step.step not in _DATED_STEPS:
                continue
            there = shown.get(_place(step, path, form), set())
            if there and form not in there:
                yield f"{path or 'the body'} is: {form}; from the stand-in: {' or '.join(sorted(there))}"


def _of_exchange(one: Exchange | None, another: Exchange | None) -> Iterator[str]:
    if one is None or another is None:
        given, whose = (one or another), "the stand-in" if one is None else "the server"
        yield f"only {whose} is asked once more: {given.request if given else ''}"
        return
    if one.status != another.status:
        yield f"the status is {one.status}; from the stand-in: {another.status}"
    if one.code != another.code:
        yield f"the code is {_or_none(one.code)}; from the stand-in: {_or_none(another.code)}"
    for name in _HEADERS:
        ours, theirs = one.headers.get(name), another.headers.get(name)
        if _media(ours) != _media(theirs):
            yield f"the header {name} is {_or_none(ours)}; from the stand-in: {_or_none(theirs)}"
    if _refused(one) == _refused(another):
        yield from _of_keys(one, another)


def _of_keys(one: Exchange, another: Exchange) -> Iterator[str]:
    ours, theirs = ({path for path in each.shape or {} if _is_compared(path)} for each in (one, another))
    for path in sorted(ours - theirs):
        yield f"the key {path} is there; not from the stand-in"
    for path in sorted(theirs - ours):
        yield f"the key {path} is missing; the stand-in has it"


def _is_compared(path: str) -> bool:
    return not _NOT_COMPARED.search(path)


def _refused(exchange: Exchange) -> tuple[bool, int | None]:
    """Answers with different codes have nothing in common."""
    return exchange.status >= 400, exchange.code


def _media(value: str | None) -> str | None:
    return value.partition(";")[0].lower() if value else value


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


def _key(step: RecordedStep) -> tuple[str, str, str]:
    return step.door, step.step, step.table


def _where(step: RecordedStep) -> str:
    return f"{_DOORS[step.door]}, {step.step}" + (f" of {step.table}" if step.table else "")
