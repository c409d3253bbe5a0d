"""A table's name and its columns, as PostgreSQL knows them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from psycopg2 import sql

INTEGER_TYPES = ("smallint", "integer", "bigint")  # each holds the values of those before it
_WITH_LENGTH = re.compile(r"character(?: varying)?\((\d+)\)")


class Table(NamedTuple):
    """A table's qualified name."""

    schema: str
    name: str

    @property
    def identifier(self) -> sql.Identifier:
        """Quoted for use in a statement."""
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Column:
    """A column of a table; `type` is as `format_type` writes it."""

    name: str
    type: str
    not_null: bool
    has_default: bool  # a default, an identity or a generation expression
    is_text: bool  # compared by a collation: text, varchar, citext, domains over them
    generated: bool = field(default=False, repr=False)  # PostgreSQL computes it; nobody can set it

    @property
    def must_be_given(self) -> bool:
        """An insert that leaves the column out fails."""
        return self.not_null and not self.has_default

    @property
    def is_instant(self) -> bool:
        """Whether it is a time with a zone."""
        return self.type.startswith("timestamp") and self.type.endswith(" with time zone")

    @property
    def can_hold_a_uuid(self) -> bool:
        """Whether a value may be a uuid: of that type, or a text. `citext` may have its schema in front of it."""
        return self.type == "uuid" or (self.is_text and not self.type.endswith("]"))

    @property
    def most_characters(self) -> int | None:
        """How many characters a text may have; None if there is no limit."""
        match = _WITH_LENGTH.fullmatch(self.type)
        return int(match[1]) if match else None

    @property
    def uncut_type(self) -> str:
        """The type for an explicit cast. A cast to `varchar(n)` cuts values without an error, so texts lose the `n`."""
        kind, length, _ = self.type.partition("(")
        if not length or self.type.endswith("]"):
            return self.type
        return {"character varying": kind, "character": "bpchar"}.get(kind, self.type)
