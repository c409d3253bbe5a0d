"""Holding a profile against what the server really has: which layout, which fields, what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fm_pipeline.entities.profile import Profile
from fm_pipeline.errors import MappingError
from fm_pipeline.filemaker.model import Field


@dataclass(frozen=True, slots=True)
class Resolution:
    """What feeds an entity on this server.

    Args:
        layout: its name as the server spells it.
        feeds: canonical field -> fields of the layout, in the order in which they count.
        unfed: canonical fields of the profile for which the layout has no field; none of them is required.
    """

    entity: str
    layout: str
    feeds: Mapping[str, tuple[Field, ...]]
    unfed: tuple[str, ...]


def resolve(
    profile: Profile, entity: str, layouts: Iterable[str], fields_of: Callable[[str], Sequence[Field]]
) -> Resolution:
    """Choose the layout of an entity and the fields that feed it.

    FileMaker compares names of layouts and fields without regard to case, and so do we.

    Args:
        layouts: the server's layouts.
        fields_of: gets the fields of a layout.

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
    layout = next((spelled[name.casefold()] for name in mapping.layout if name.casefold() in spelled), None)
    if layout is None:
        raise MappingError(
            f"FileMaker has no layout {' or '.join(mapping.layout)}, which {entity} is read from.",
            meaning="Nothing was read.",
            remedy="Create the layout in FileMaker, give the account access to it, or correct the profile.",
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
                f"The layout {layout} has no field {' or '.join(wanted)}, "
                f"which feeds {' or '.join(sorted(group))} of {entity}.",
                meaning="Without it no record could be carried over; nothing was read.",
                remedy=f"Place the field on the layout {layout} in FileMaker, or correct the profile.",
            )
    unfed = tuple(canonical for canonical in mapping.fields if canonical not in feeds)
    return Resolution(entity, layout, feeds, unfed)
