"""Compares a profile with what the server has: which layout, which fields, what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

from fm_pipeline.entities.profile import Profile
from fm_pipeline.errors import MappingError
from fm_pipeline.filemaker.door import TABLE_WORDS, DoorKind
from fm_pipeline.filemaker.exports.options import TypedOrder
from fm_pipeline.filemaker.model import Field

_MISSING: Mapping[DoorKind, str] = {
    "data_api": "Create the layout in FileMaker, give the account access to it, or correct the profile.",
    "odata": "Create the table occurrence in FileMaker, give the account access to it, or correct the profile.",
    "exports": "Export the records into the folder, or correct the profile.",
}
_FIELD_MISSING: Mapping[DoorKind, str] = {
    "data_api": "Place the field on the layout {} in FileMaker, or correct the profile.",
    "odata": "Give the account access to the field in the table of {}, or correct the profile.",
    "exports": "Export {} again with the field, or correct the profile.",
}


@dataclass(frozen=True, slots=True)
class Resolution:
    """What feeds an entity on this server.

    Args:
        layout: name of the layout, table occurrence or export file, as the source spells it.
        feeds: canonical field -> fields of the layout, in the order in which they count.
        unfed: canonical fields of the profile for which the layout has no field; none of them is required.
        modified: the field with the time of a record's last change, if the profile names one that is there.
        dates: the order of dates in text fields, if the profile names it.
    """

    entity: str
    layout: str
    feeds: Mapping[str, tuple[Field, ...]]
    unfed: tuple[str, ...]
    modified: Field | None = None
    dates: TypedOrder | None = None

    @property
    def fields(self) -> list[Field]:
        """The fields of the layout that feed something, each once."""
        named = [field for fields in self.feeds.values() for field in fields]
        return list({field.name: field for field in [*named, *([self.modified] if self.modified else [])]}.values())

    @property
    def signature(self) -> str:
        """Which field of FileMaker, of which type, feeds what: records of another signature were read differently."""
        feeds = {canonical: list(map(astuple, fields)) for canonical, fields in self.feeds.items()}
        signed = {"feeds": feeds, "modified": self.modified and astuple(self.modified)}
        return json.dumps(signed | ({"dates": self.dates} if self.dates else {}), sort_keys=True)


def resolve(
    profile: Profile,
    entity: str,
    layouts: Iterable[str],
    fields_of: Callable[[str], Sequence[Field]],
    kind: DoorKind = "data_api",
) -> Resolution:
    """Choose the layout of an entity and the fields that feed it.

    FileMaker compares names of layouts and fields without regard to case, and so do we.

    Args:
        layouts: those of the server, or what the door has in their place.
        fields_of: gets the fields of one of them.
        kind: of the door, by which the profile may name it.

    Raises:
        MappingError: the profile has no such entity, no layout is there, or a required field is not on it.
    """
    mapping = profile.entities.get(entity)
    if mapping is None:
        raise MappingError(
            f"The mapping profile {profile.name} has no entity {entity}.",
            remedy=f"Add it to the profile, or leave {entity} out of the run.",
        )
    spelled = {layout.casefold(): layout for layout in layouts}
    names, word = mapping.names(kind), TABLE_WORDS[kind]
    layout = next((spelled[name.casefold()] for name in names if name.casefold() in spelled), None)
    if layout is None:
        raise MappingError(
            f"FileMaker has no {word} {' or '.join(names)}, which {entity} is read from.",
            meaning="Nothing was read.",
            remedy=_MISSING[kind],
        )
    on_layout = {field.name.casefold(): field for field in fields_of(layout)}
    feeds = {
        canonical: fields
        for canonical, names in mapping.fields.items()
        if (fields := tuple(on_layout[name.casefold()] for name in names if name.casefold() in on_layout))
    }
    for group in profile.registry[entity].required:
        if not group & feeds.keys():
            wanted = [name for canonical in sorted(group) for name in mapping.fields.get(canonical, [])]
            raise MappingError(
                f"The {word} {layout} has no field {' or '.join(wanted)}, "
                f"which feeds {' or '.join(sorted(group))} of {entity}.",
                meaning="Without it no record could be carried over; nothing was read.",
                remedy=_FIELD_MISSING[kind].format(layout),
            )
    unfed = tuple(canonical for canonical in mapping.fields if canonical not in feeds)
    names = (mapping.sync.modified if mapping.sync else None) or []
    stamps = (on_layout[name.casefold()] for name in names if name.casefold() in on_layout)
    modified = next((field for field in stamps if field.result == "timeStamp"), None)
    return Resolution(entity, layout, feeds, unfed, modified, mapping.dates)
