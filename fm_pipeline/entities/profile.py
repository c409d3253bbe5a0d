"""A profile: one readable YAML file that says which layout and fields of a FileMaker file feed which entity.

patient:
  layout: [API_Patients, Patients]        # the first that the server has
  fields:
    filemaker_id: [id, id_Key]            # the first that is not empty in a record
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError

from fm_pipeline.entities import profile_additions
from fm_pipeline.entities.profile_additions import NexusMapping, registry_of
from fm_pipeline.entities.registry import CONTACT_DETAIL, ENTITIES, Entity, Registry
from fm_pipeline.entities.yaml_keys import repeated_key
from fm_pipeline.errors import MappingError
from fm_pipeline.filemaker.door import DoorKind
from fm_pipeline.filemaker.exports.encoding import Encoding
from fm_pipeline.filemaker.exports.options import DateOrder, DecimalSign, TypedOrder

REMEDY = "Correct the profile; docs/mapping.md lists the entities and their canonical fields."


def _each_once(names: list[str]) -> list[str]:
    folded = [name.casefold() for name in names]
    if len(set(folded)) != len(folded):
        raise ValueError("names a thing twice (FileMaker does not tell upper from lower case)")
    return names


Name = Annotated[StrictStr, Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1), AfterValidator(_each_once)]
"""Names of layouts or fields in FileMaker, in the order in which they count."""


SyncPolicy = Literal["nexus", "filemaker", "newer"]
"""Whose value stays in a column that a user has edited in Nexus."""


class ContainerMapping(BaseModel):
    """The containers of an image record, and what else of it the import of files needs (docs/images.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    best_first: Names  # of several sizes of one picture the first that can be read is taken
    mark: Name  # a timestamp: when the file was taken over
    date: Names
    category: Names
    recid: Names | None = None  # FileMaker's own record number where no field has it


class SyncMapping(BaseModel):
    """How a sync finds what changed of an entity, and which side wins (docs/sync.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modified: Names | None = None  # the field with the time of the last change; none: every record is read
    ids: Names | None = None  # a layout of the same table with few fields, by which deleted records are found
    policy: dict[StrictStr, SyncPolicy] = {}


class ExportMapping(BaseModel):
    """What cannot be seen in the export file of an entity (docs/exports.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: Names | None = None  # all of them in order, of a file without a header
    record_id: Names | None = None  # the column with FileMaker's Get(RecordID)
    dates: DateOrder | None = None
    decimal: DecimalSign | None = None
    encoding: Encoding | None = None
    found_set: StrictBool = False  # the file rightly has only some of the table's records


class EntityMapping(BaseModel):
    """Where the records of an entity come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Names
    table: Names | None = None  # of OData
    file: Names | None = None  # of a folder of exports
    export: ExportMapping | None = None
    dates: TypedOrder | None = None  # that people have typed into text fields; none: the dates prove it
    fields: dict[StrictStr, Names]
    containers: ContainerMapping | None = None
    nexus: NexusMapping | None = None
    sync: SyncMapping | None = None

    def names(self, kind: DoorKind) -> list[str]:
        """Return the names by which a door has the records; those of the layout where it has none of its own."""
        return {"data_api": None, "odata": self.table, "exports": self.file}[kind] or self.layout


class Profile(BaseModel):
    """A whole profile. Make one with `load_profile`, which checks it and says what is wrong with it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    entities: dict[StrictStr, EntityMapping]

    @cached_property
    def registry(self) -> Registry:
        """The entities that can be staged by this profile, with what it adds."""
        return registry_of(self.entities)

    @property
    def sync_policies(self) -> dict[str, dict[str, SyncPolicy]]:
        """The policies of the columns of Nexus that have one, by entity."""
        return {name: mapping.sync.policy for name, mapping in self.entities.items() if mapping.sync}


def load_profile(name_or_path: str | Path) -> Profile:
    """Read and check a profile.

    Args:
        name_or_path: a profile of this package (`nexus`), or the path of a file that ends in `.yaml` or `.yml`.

    Raises:
        MappingError: no such profile, or what is wrong with it, with file and line.
    """
    return _read(*_text(name_or_path))


@lru_cache(maxsize=8)  # each step of a run asks for the profile; the file is read every time, and parsed once
def _read(name: str, text: str) -> Profile:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none; lists without end
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise MappingError(f"{name}{where}: this is not YAML: {problem}.", remedy=REMEDY) from None
    if root is None:
        raise MappingError(f"{name} is empty.", remedy=REMEDY)
    if again := repeated_key(root):
        raise MappingError(f"{name}, line {again.start_mark.line + 1}: {again.value} is there twice.", remedy=REMEDY)
    try:
        profile = Profile.model_validate({"name": Path(name).stem, "entities": content})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = _place(name, root, [str(part) for part in fault["loc"][1:] if part != "[key]"])
        raise MappingError(f"{place}: {fault['msg']}.", remedy=REMEDY) from None
    for what, path in _faults(profile):
        raise MappingError(f"{_place(name, root, path)}: {what}.", remedy=REMEDY)
    return profile


def _text(name_or_path: str | Path) -> tuple[str, str]:
    asked = str(name_or_path)
    try:
        if asked.endswith((".yaml", ".yml")):
            return asked, Path(asked).read_text(encoding="utf-8")
        if asked.isidentifier():
            return f"{asked}.yaml", resources.files(__package__).joinpath(f"{asked}.yaml").read_text("utf-8")
        reason = "it is neither a name nor a path that ends in .yaml"
    except FileNotFoundError:
        reason = "there is no such file"
    except (OSError, UnicodeDecodeError) as error:
        reason = f"it cannot be read ({type(error).__name__})"
    raise MappingError(
        f"The mapping profile {asked} cannot be used: {reason}.",
        meaning="Nothing was read.",
        remedy="Set FILEMAKER_PROFILE to nexus or wep, which come with the pipeline, or to the path of a file.",
    )


def _faults(profile: Profile) -> Iterator[tuple[str, list[str]]]:
    """What is wrong with a well-formed profile, and where."""
    for name, mapping in profile.entities.items():
        if name not in ENTITIES and mapping.nexus is None:
            known = f"there are {', '.join(ENTITIES)}"
            yield f"there is no entity {name}; {known}; a table of your own needs the part nexus", [name]
    yield from profile_additions.faults(profile.entities)
    for name, entity in profile.registry.items():
        if name in profile.entities:
            yield from _wrong_fields(name, entity, profile.entities[name])
    for name, entity in ENTITIES.items():
        if not entity.optional and name not in profile.entities:
            yield f"the entity {name} is missing", []


def _wrong_fields(name: str, entity: Entity, mapping: EntityMapping) -> Iterator[tuple[str, list[str]]]:
    for field in mapping.fields:
        if field not in entity.fields:
            yield f"{name} has no canonical field {field}", [name, "fields", field]
    if mapping.containers and name != "image":
        yield "only image has containers", [name, "containers"]
    for column in mapping.sync.policy if mapping.sync else ():
        if column not in entity.columns:
            yield f"{name} feeds no column {column} of Nexus", [name, "sync", "policy", column]
        elif mapping.sync and mapping.sync.policy[column] == "newer":
            if CONTACT_DETAIL in entity.columns[column].fields:
                yield f"contact details have times of their own, so {column} has no newer", [name, "sync", "policy"]
            if mapping.sync.modified is None:
                yield "newer needs the field modified", [name, "sync", "policy", column]
    for group in entity.required:
        if not group & mapping.fields.keys():
            yield f"{name} needs {' or '.join(sorted(group))}", [name, "fields"]


def _place(name: str, root: yaml.Node, path: list[str]) -> str:
    """File, line and path of a part of the profile."""
    node, line = root, root.start_mark.line
    for part in path:
        if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    node, line = value, key.start_mark.line
                    break
    return f"{name}, line {line + 1}" + (f" ({'.'.join(path)})" if path else "")
