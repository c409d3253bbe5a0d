"""Find what a door does not send, without a sign of it: text in number, date and time fields, and whole records.

OData sends the number in a text, or null. A `.csv` or `.mer` file has only the number. The Data API has the text as it
is, so it is asked. `?` finds invalid dates and times (FileMaker Pro Help, "Finding dates and times"), but of number
fields only those without any number in their text: these are read. OData leaves out the records that the account may
not see, and does not count them. The Data API counts them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from fm_pipeline.entities.profile import Profile
from fm_pipeline.entities.resolution import resolve
from fm_pipeline.entities.rules import RECORDS_HIDDEN
from fm_pipeline.errors import FileMakerError, MappingError, PipelineError
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.door import DataApiDoor
from fm_pipeline.filemaker.door import Reading
from fm_pipeline.filemaker.model import Field, FileMakerRecord, Value
from fm_pipeline.filemaker.values import is_number
from fm_pipeline.pluralize import counted
from fm_pipeline.preflight.finding import Finding, FindingBuilder

RULE = "text_lost_by_door"
IDS_SHOWN = 5
NUMBERS: Sequence[str] = ("number",)
NUMBERS_AND_DATES: Sequence[str] = ("number", "date", "time", "timeStamp")


def check_lost_values(
    client: DataApiClient,
    profile: Profile,
    build: FindingBuilder,
    *,
    entities: Iterable[str],
    types: Collection[str],
    page_size: int,
    is_same_account: bool,
) -> Iterator[Finding]:
    """Look for such text in the mapped fields, and for such records, by the layouts of the profile.

    Args:
        client: of the Data API; left open.
        types: of the fields whose text is lost, as in `Field.result`.
        is_same_account: the door reads with the account of the client, so both see the same records.
    """
    try:
        layouts = client.layouts()
    except FileMakerError as error:
        yield _not_looked_at(build, "text in number and date fields", error)
        return
    for entity in entities:
        try:
            resolution = resolve(profile, entity, layouts, client.layout_fields)
            fields = [field for field in resolution.fields if field.result in types]
            dates = [field for field in fields if field.result != "number"]
            numbers = [field for field in fields if field.result == "number"]
            found = {
                "date or time": _invalid_dates(client, resolution.layout, dates),
                "number": _text_in_numbers(client, resolution.layout, numbers, page_size),
            }
            unseen = DataApiDoor(client).sample(resolution.layout, ()).hidden if is_same_account else ""
        except (MappingError, FileMakerError) as error:
            yield _not_looked_at(build, entity, error)
            continue
        if unseen:
            yield build.violation(RECORDS_HIDDEN, f"layout {resolution.layout}", unseen)
        for kind, (count, ids) in found.items():
            if count:
                shown = ", ".join(map(str, ids)) + (" and others" if count > len(ids) else "")
                records = f"{counted(count, 'record')} of {resolution.layout}"
                yield build.violation(RULE, entity, f"text in a {kind} field, {records}: {shown}")


def _not_looked_at(build: FindingBuilder, subject: str, error: PipelineError) -> Finding:
    """A warning, not more: the account may rightly have no access to the Data API."""
    remedy = f"Only the Data API shows it. To have it looked for: {error.remedy}"
    rule = replace(build.rules[RULE], action="flag", remedy=remedy)
    return build.violation_of(rule, subject, f"not looked at. {error.what}")


Found = tuple[int, list[int]]
"""How many records, and the ids of the first."""


def _invalid_dates(client: DataApiClient, layout: str, fields: Sequence[Field]) -> Found:
    if not fields:
        return 0, []
    # The requests of one find are joined by OR.
    page = client.find(layout, [{field.name: "?"} for field in fields], limit=IDS_SHOWN)
    return page.found_count, [record.record_id for record in page.records]


def _text_in_numbers(client: DataApiClient, layout: str, fields: Sequence[Field], page_size: int) -> Found:
    if not fields:
        return 0, []
    names = {name for field in fields for name in (field.name, *(f"{field.name}({n})" for n in field.repetitions))}

    def ids_of(records: Iterator[FileMakerRecord]) -> list[int]:
        return [record.record_id for record in records if any(_is_text(record.fields.get(name)) for name in names)]

    ids = DataApiDoor(client).read(Reading(layout, fields, page_size), ids_of)
    return len(ids), ids[:IDS_SHOWN]


def _is_text(value: Value | None) -> bool:
    return isinstance(value, str) and bool(value.strip()) and not is_number(value)
