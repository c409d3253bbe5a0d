"""What a FileMaker file is made of: accounts, fields, table occurrences, portals, layouts, scripts.

Only the descriptions belong here; `store` keeps them, `layouts` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

FieldType = Literal["text", "number", "date", "time", "timestamp", "container"]
AutoEnter = Literal["creation", "modification"]


@dataclass(frozen=True)
class FileMakerAccount:
    """Somebody who may log in.

    Args:
        name: the account name, without a colon.
        password: kept by the store only as a salted hash.
        privileges: extended privileges; `fmrest` opens the Data API.
        no_access: by table, the fields that this account sees as `<No Access>`.
    """

    name: str
    password: str
    privileges: Sequence[str] = ("fmrest",)
    no_access: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class FieldDefinition:
    """One field of a table.

    Args:
        auto_enter: fills it when a record is created, or whenever it is changed.
        is_global: it has one value for all records, and each session its own.
    """

    name: str
    type: FieldType = "text"
    repetitions: int = 1
    auto_enter: AutoEnter | None = None
    is_global: bool = False


@dataclass(frozen=True)
class StoredContainerFile:
    """What a container field holds.

    Args:
        content: the bytes.
        name: its ending stands in the URL; a name without one gives a URL without one.
        mime: sent as Content-Type.
        stored: `external` ones have another RCType in their URL.
        folder: the second folder of a server's databases is `Additional_1`.
    """

    content: bytes = field(repr=False)
    name: str = "image.jpg"
    mime: str = "image/jpeg"
    stored: Literal["embedded", "external"] = "embedded"
    folder: str = "MainDB"


@dataclass(frozen=True)
class Occurrence:
    """Another place in the relationship graph, reached from `table` where `match` (ours, theirs) is equal."""

    name: str
    table: str
    related_table: str
    match: tuple[str, str]


@dataclass(frozen=True)
class Portal:
    """Related rows on a layout: the fields are named without the occurrence. `name` is the object name."""

    occurrence: str
    fields: Sequence[str]
    name: str | None = None

    @property
    def key(self) -> str:
        """The key in `portalData`: the object name where there is one, else the occurrence."""
        return self.name or self.occurrence


@dataclass(frozen=True)
class LayoutDefinition:
    """What the Data API shows: some fields of one table (`TO::field` for a related one) and portals.

    Args:
        folder: the folder of the layout menu that holds it, if any.
        view: the saved view; v1 shows only the first portal row unless it is `form`.
    """

    name: str
    table: str
    fields: Sequence[str]
    portals: Sequence[Portal] = ()
    folder: str | None = None
    view: Literal["form", "list", "table"] = "form"


@dataclass(frozen=True)
class Script:
    """A script whose end is known beforehand: its error number and its result (None: it returns nothing)."""

    name: str
    error: int = 0
    result: str | None = None
    folder: str | None = None
