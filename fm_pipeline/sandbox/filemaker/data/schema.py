"""The schema of a FileMaker file: accounts, fields, table occurrences, portals, layouts, scripts.

Only definitions belong here; `store` stores them, `views` shows records by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

FieldType = Literal["text", "number", "date", "time", "timestamp", "container"]
AutoEnter = Literal["creation", "modification", "uuid"]


@dataclass(frozen=True)
class ServerAccount:
    """An account that may log in.

    Args:
        name: the account name, without a colon.
        password: stored only as a salted hash.
        privileges: extended privileges; `fmrest` allows the Data API, `fmodata` OData.
        no_access: by table, the fields that this account sees as `<No Access>`.
    """

    name: str
    password: str
    privileges: Sequence[str] = ("fmrest", "fmodata")
    no_access: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class FieldDefinition:
    """One field of a table.

    Args:
        auto_enter: fills the field when a record is created (with the time, or a UUID), or whenever it is changed.
        is_global: the field has one value for all records, separate in each session.
        unique: the validation options say "unique" and "not empty"; OData then takes the first such field as key.
        kind: what the metadata say; nothing is calculated.
    """

    name: str
    type: FieldType = "text"
    repetitions: int = 1
    auto_enter: AutoEnter | None = None
    is_global: bool = False
    unique: bool = False
    kind: Literal["normal", "calculation"] = "normal"


@dataclass(frozen=True)
class StoredContainerFile:
    """A file in a container field.

    Args:
        content: the bytes.
        name: its extension is part of the URL.
        mime: sent as Content-Type.
        stored: `external` files have another RCType in their URL.
        folder: of the server's databases; the second one is `Additional_1`.
    """

    content: bytes = field(repr=False)
    name: str = "image.jpg"
    mime: str = "image/jpeg"
    stored: Literal["embedded", "external"] = "embedded"
    folder: str = "MainDB"


@dataclass(frozen=True)
class Occurrence:
    """A table occurrence, related to `table` where the fields of `match` (ours, theirs) are equal."""

    name: str
    table: str
    related_table: str
    match: tuple[str, str]


@dataclass(frozen=True)
class Portal:
    """A portal of related rows.

    Args:
        fields: named without the occurrence; `TO::field` is of a table that is related to the rows' table.
        name: the object name.
        sort: the portal set-up's fields to sort by, ascending; a `-` before a name means descending.
    """

    occurrence: str
    fields: Sequence[str]
    name: str | None = None
    sort: Sequence[str] = ()

    @property
    def key(self) -> str:
        """The key in `portalData`: the object name if there is one, else the occurrence."""
        return self.name or self.occurrence


@dataclass(frozen=True)
class LayoutDefinition:
    """A layout: fields of one table (`TO::field` for a related one) and portals.

    Args:
        folder: its folder in the layout menu, if any.
        view: the saved view; v1 shows only the first portal row unless it is `form`.
        repetitions: by field, how many of its repetitions are shown; without an entry all.
    """

    name: str
    table: str
    fields: Sequence[str]
    portals: Sequence[Portal] = ()
    folder: str | None = None
    view: Literal["form", "list", "table"] = "form"
    repetitions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Script:
    """A script with a predefined error number and result.

    Args:
        result: what it returns, with `{parameter}` in place of the parameter that was sent; None if nothing.
        effects: what it does to the file, as the actions of the fault `between_pages`.
    """

    name: str
    error: int = 0
    result: str | None = None
    folder: str | None = None
    effects: Sequence[Mapping[str, Any]] = ()
