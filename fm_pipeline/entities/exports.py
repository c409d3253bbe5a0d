"""What a profile says of the files in a folder of exports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fm_pipeline.entities.profile import EntityMapping, ExportMapping, Profile
from fm_pipeline.entities.registry import Entity
from fm_pipeline.filemaker.exports.options import ExportOptions

# Canonical fields that the entities' own functions read as dates or timestamps; of other fields the reader says it.
_DATES = {
    "dob", "coordinator_date", "plan_start_date", "plan_end_date", "ndis_plan_start_date", "ndis_plan_end_date",
    "start", "start_date", "end", "end_date", "sent_at", "created_at", "export_date",
}  # fmt: skip
_DATE_READERS = {"date", "timestamp"}
_TIMES = {"start_time", "end_time"}


def export_options(profile: Profile) -> list[ExportOptions]:
    """Return one entry for each entity of the profile."""
    return [
        _options(mapping, profile.registry[entity], mapping.export or ExportMapping())
        for entity, mapping in profile.entities.items()
    ]


def _options(mapping: EntityMapping, entity: Entity, said: ExportMapping) -> ExportOptions:
    dated = date_fields(entity) & mapping.fields.keys()
    numbers = {field for feed in entity.columns.values() if feed.kind == "number" for field in feed.fields}
    needed = [frozenset(_folded(mapping, each)) for each in entity.required]
    return ExportOptions(
        files=tuple(mapping.names("exports")),
        known=frozenset(_folded(mapping, mapping.fields)) | {name.casefold() for name in said.record_id or ()},
        needed=[group for group in needed if group],
        date_fields=frozenset(_folded(mapping, dated)),
        time_fields=frozenset(_folded(mapping, _TIMES)),
        number_fields=frozenset(_folded(mapping, numbers)),
        columns=tuple(said.columns or ()),
        record_id=tuple(said.record_id or ()),
        dates=said.dates,
        decimal=said.decimal,
        encoding=said.encoding,
        found_set=said.found_set,
    )


def date_fields(entity: Entity) -> set[str]:
    """Return the canonical fields that hold dates or timestamps."""
    return _DATES.union(*(feed.fields for feed in entity.columns.values() if feed.kind in _DATE_READERS))


def _folded(mapping: EntityMapping, canonical: Iterable[str]) -> Iterator[str]:
    """The names of canonical fields in FileMaker, without case."""
    for field in canonical:
        yield from (name.casefold() for name in mapping.fields.get(field, ()))
