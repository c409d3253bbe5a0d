"""Check FileMaker: the server, the account, and the layouts and fields of the profile.

One record of each layout is read, for the number of records and to detect hidden fields. None is stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

from fm_pipeline.entities.profile import Profile
from fm_pipeline.entities.resolution import Resolution, resolve
from fm_pipeline.entities.rules import RECORDS_HIDDEN
from fm_pipeline.errors import FileMakerError, MappingError
from fm_pipeline.filemaker.door import TABLE_WORDS, Door, DoorKind
from fm_pipeline.filemaker.errors import FieldMissing, LayoutMissing, PrivilegeMissing, UnreadableAnswer
from fm_pipeline.filemaker.exports.errors import ExportChanged, ExportStop
from fm_pipeline.filemaker.model import Field, Page
from fm_pipeline.pluralize import counted
from fm_pipeline.preflight.finding import Finding, FindingBuilder
from fm_pipeline.staging.left_out import missing_layout
from fm_pipeline.staging.transforms.file_links import EXPORT_DATE
from fm_pipeline.staging.values.text import NO_ACCESS

# Digits that are no number, of entities whose own functions read them; of the others the reader `line` says it.
_DIGITS = {"phone", "mobile", "postcode", "health_number"}
OLDEST = 18  # the first that counts the records it sends (Data API Guide, "dataInfo")
_DAY = 24  # hours
OF_ONE_LAYOUT = (
    PrivilegeMissing,
    LayoutMissing,
    FieldMissing,
    UnreadableAnswer,
    ExportStop,
    ExportChanged,
)  # other errors concern all layouts


@dataclass
class SourceInventory:
    """Sizes and fields of the FileMaker file, by entity.

    Attributes:
        counts: number of records, according to FileMaker.
        fed: the canonical fields that the layout can feed.
        left_out: entities that the file does not have and need not have.
    """

    counts: dict[str, int] = field(default_factory=dict)
    fed: dict[str, frozenset[str]] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)


def check_filemaker(door: Door, profile: Profile, build: FindingBuilder, source: SourceInventory) -> Iterator[Finding]:
    """Check the server, the account and every layout, or what the door has in its place.

    Args:
        door: logs in on demand; left open.
        source: filled by this function.
    """
    is_folder = door.kind == "exports"
    try:
        if not is_folder:
            yield _version(door.version(), build)
        tables = door.tables()
    except FileMakerError as error:
        yield build.from_error("filemaker_unreachable", "folder" if is_folder else "server and account", error)
        return
    seen = f"{counted(len(tables), TABLE_WORDS[door.kind])} can be seen"
    yield build.ok("folder", seen) if is_folder else build.ok("account", f"logged in; {seen}")
    fields_of = cache(door.fields)
    for entity in profile.entities:
        try:
            optional = profile.registry[entity].if_there
            if optional and (left_out := missing_layout(profile, entity, tables, fields_of, door.kind)):
                source.left_out.add(entity)
                yield from (build.violation("entity_left_out", entity, words.rstrip(".")) for words in left_out)
                continue
            resolution = resolve(profile, entity, tables, fields_of, door.kind)
            page = door.sample(resolution.layout, resolution.fields)
        except MappingError as error:
            yield build.from_error("filemaker_layout_unfit", entity, error)
        except FileMakerError as error:
            unfit = isinstance(error, OF_ONE_LAYOUT)
            yield build.from_error("filemaker_layout_unfit" if unfit else "filemaker_unreachable", entity, error)
            if not unfit:
                return
        else:
            source.counts[entity] = page.found_count
            source.fed[entity] = frozenset(resolution.feeds)
            there = {field.name.casefold() for field in fields_of(resolution.layout)}
            yield from _layout(build, profile, resolution, door.kind, page, there)
    yield from _of_two_days(door, build)


def _of_two_days(door: Door, build: FindingBuilder) -> Iterator[Finding]:
    """Compare the ages of export files: an old one looks like a new one otherwise."""
    if door.kind != "exports":
        return
    from fm_pipeline.filemaker.exports.door import ExportsDoor  # noqa: PLC0415  # slow to import

    written = door.written() if isinstance(door, ExportsDoor) else {}
    if not written:
        return
    newest = max(written, key=lambda name: written[name])
    hours = {name: int((written[newest] - written[name]) // 3600) for name in sorted(written)}
    if old := [f"{name} is {n} hours older" for name, n in hours.items() if n >= _DAY]:
        yield build.violation("exports_of_two_days", "folder", f"{', '.join(old)} than {newest}")


def _numbers_for_text(profile: Profile, resolution: Resolution) -> list[str]:
    """Return the number fields that feed a text of Nexus."""
    columns = profile.registry[resolution.entity].columns.values()
    texts = _DIGITS.union(*(feed.fields for feed in columns if feed.kind == "line"))
    fields = (field for name, feeding in resolution.feeds.items() if name in texts for field in feeding)
    return sorted({field.name for field in fields if field.result == "number"})


def shown_repetitions(fields: Iterable[Field]) -> str:
    """Return how many repetitions of fields a layout shows, in words."""
    return ", ".join(f"{len(field.repetitions)} of {field.most_repetitions} of {field.name}" for field in fields)


def _hidden_fields(resolution: Resolution, page: Page) -> list[str]:
    """Return the fields that the account may not see in a record, also where they repeat."""
    shown = {name for record in page.records for name, value in record.fields.items() if value == NO_ACCESS}
    fields = (field for name, fields in resolution.feeds.items() if name != EXPORT_DATE for field in fields)
    return sorted(
        {field.name for field in fields if shown & {field.name, *(f"{field.name}({n})" for n in field.repetitions)}}
    )


def _version(version: str, build: FindingBuilder) -> Finding:
    found = re.match(r"\d+", version)
    if found and int(found[0]) < OLDEST:
        return build.violation("filemaker_too_old", "version", f"FileMaker Server {version}")
    return build.ok("version", f"FileMaker Server {version}" if found else "FileMaker Server of unknown version")


def _layout(
    build: FindingBuilder, profile: Profile, resolution: Resolution, kind: DoorKind, page: Page, there: set[str]
) -> Iterator[Finding]:
    mapped = list(
        dict.fromkeys(name for names in profile.entities[resolution.entity].fields.values() for name in names)
    )
    missing = [name for name in mapped if name.casefold() not in there]
    hidden = _hidden_fields(resolution, page)
    subject = f"{TABLE_WORDS[kind]} {resolution.layout}"
    if missing:
        unfed = f"; nothing feeds {', '.join(resolution.unfed)}" if resolution.unfed else ""
        yield build.violation("filemaker_field_missing", subject, f"without {', '.join(missing)}{unfed}")
    if hidden:
        yield build.violation("filemaker_field_hidden", subject, f"{NO_ACCESS} in {', '.join(hidden)}")
    if page.hidden:
        yield build.violation(RECORDS_HIDDEN, subject, page.hidden)
    off_layout = [field for field in resolution.fields if field.has_hidden_repetitions]
    if off_layout:
        yield build.violation("filemaker_repetition_hidden", subject, shown_repetitions(off_layout))
    numbers = _numbers_for_text(profile, resolution)
    if numbers:
        yield build.violation("filemaker_number_for_text", subject, f"number fields: {', '.join(numbers)}")
    if not (missing or hidden or page.hidden or off_layout or numbers):
        yield build.ok(subject, f"all {counted(len(mapped), 'mapped field')}; {counted(page.found_count, 'record')}")
