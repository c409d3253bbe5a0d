"""The catalogue of the Nexus schema: columns, foreign keys, generic keys.

The application adds tables with every release, so dependants of a patient are read from the catalogue, never listed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.table import Column, Table
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.table_names import CONTENT_TYPES


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key. `on_delete` is pg_constraint.confdeltype: a, r, c, n or d."""

    name: str
    table: Table
    columns: tuple[str, ...]
    references: Table
    referenced_columns: tuple[str, ...]
    on_delete: str
    deferrable: bool


@dataclass(frozen=True)
class GenericKey:
    """A Django generic foreign key: a content type and an object id, without a constraint."""

    table: Table
    content_type_column: str
    object_id_column: str


@dataclass(frozen=True)
class SoftReference:
    """A column that holds ids of rows of another table without a foreign key.

    Attributes:
        replaced: number of rows with an earlier id of a patient.
        gone: number of rows with the id of a row that will be deleted.
        writable: whether a restore could bring its rows back: it knows them by a key that the column is no part of.
    """

    table: Table
    column: str
    to: Table
    replaced: int = 0
    gone: int = 0
    writable: bool = True


@dataclass(frozen=True)
class Catalogue:
    """The tables, foreign keys and generic keys that concern one Nexus schema."""

    schema: str
    columns: Mapping[Table, Mapping[str, Column]]
    foreign_keys: Sequence[ForeignKey]

    def table(self, name: str) -> Table:
        """Return the qualified name of a table of the Nexus schema, which need not exist."""
        return Table(self.schema, name)

    def has(self, name: str) -> bool:
        """Return whether the Nexus schema has a table of that name."""
        return self.table(name) in self.columns

    def require(self, names: Iterable[str]) -> None:
        """Refuse a schema without these tables.

        Raises:
            CatalogueStop: names the missing tables.
        """
        missing = sorted({name for name in names if not self.has(name)})
        if missing:
            raise CatalogueStop(
                f"The schema {self.schema} has no table {', '.join(missing)}.",
                meaning="This is not the database of Nexus, or the role may not see it. Nothing was changed.",
                remedy="Check NEXUS_DATABASE_URL and NEXUS_SCHEMA, and the grants of the role.",
            )

    def require_columns(self, columns: Iterable[tuple[str, str]]) -> None:
        """Refuse a schema without these columns, each with its table.

        Raises:
            CatalogueStop: names the missing columns.
        """
        missing = [f"{table}.{name}" for table, name in columns if name not in self.columns[self.table(table)]]
        if missing:
            raise CatalogueStop(
                f"The schema {self.schema} has no column {', '.join(missing)}.",
                meaning="This release of Nexus is not one that the pipeline knows. Nothing was changed.",
                remedy="Tell the maintainers the release of Nexus.",
            )

    @property
    def content_types(self) -> Table:
        """The table of Django's content types, to which generic keys refer; it need not exist."""
        return self.table(CONTENT_TYPES)

    @cached_property
    def generic_keys(self) -> list[GenericKey]:
        """Pairs of columns `*content_type_id` and `*object_id` with the same prefix.

        An object id that cannot hold a uuid (a number, as in django-auditlog) never refers to a row of Nexus.
        """
        pairs = []
        for table, columns in sorted(self.columns.items()):
            for name in columns:
                object_id = name.removesuffix("content_type_id") + "object_id"
                if not name.endswith("content_type_id") or object_id not in columns:
                    continue
                if columns[object_id].can_hold_a_uuid:
                    pairs.append(GenericKey(table, name, object_id))
        return pairs

    def foreign_keys_to(self, table: Table) -> list[ForeignKey]:
        """Return the foreign keys that reference a table, in a fixed order."""
        found = [key for key in self.foreign_keys if key.references == table]
        return sorted(found, key=lambda key: (key.table, key.name))

    def columns_pointing_to(self, parent: Table, child: Table) -> set[str]:
        """Return the columns of `child` that hold ids of rows of `parent`; of generic keys, the content types."""
        found = {key.columns[0] for key in self.foreign_keys_to(parent) if key.table == child and len(key.columns) == 1}
        if parent == self.content_types:
            found |= {key.content_type_column for key in self.generic_keys if key.table == child}
        return found

    def referred_to_by(self, tables: Iterable[Table]) -> list[Table]:
        """Return the other tables to which foreign keys of these lead, also over several tables."""
        found = list(tables)
        given = len(found)
        for table in found:  # it grows meanwhile
            leading = (key.references for key in self.foreign_keys if key.table == table)
            found += dict.fromkeys(each for each in leading if each not in found)
        return found[given:]

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all tables and keys; it changes with a migration of the application."""
        text = repr(
            (
                sorted((t, sorted(c.items())) for t, c in self.columns.items()),
                sorted(map(repr, self.foreign_keys)),
            )
        )
        return hashlib.sha256(text.encode()).hexdigest()


# `fm_pipeline` and `fm_console` are ours: a table of the console is no table of Nexus, and its next migration must not
# make a plan stale.
# For a domain, the type that it is made of in the end, also through other domains: that one has the length.
_COLUMNS = """
WITH RECURSIVE domains AS (
    SELECT oid, typbasetype AS base, typtypmod AS modifier, typnotnull, typdefaultbin IS NOT NULL AS has_default
    FROM pg_type WHERE typtype = 'd'
    UNION ALL
    SELECT d.oid, t.typbasetype, t.typtypmod, d.typnotnull OR t.typnotnull, d.has_default
    FROM domains d JOIN pg_type t ON t.oid = d.base AND t.typtype = 'd'
)
SELECT n.nspname, c.relname, a.attname,
       coalesce(format_type(d.base, d.modifier), format_type(a.atttypid, a.atttypmod)),
       a.attnotnull OR coalesce(d.typnotnull, false),
       a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '' OR coalesce(d.has_default, false),
       a.attcollation <> 0, a.attgenerated <> ''
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     LEFT JOIN (domains d JOIN pg_type b ON b.oid = d.base AND b.typtype <> 'd') ON d.oid = a.atttypid
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'fm_pipeline', 'fm_console') AND n.nspname NOT LIKE 'pg\\_%'
  AND has_schema_privilege(n.oid, 'USAGE')
ORDER BY 1, 2, a.attnum
"""

_FOREIGN_KEYS = """
SELECT k.conname, n.nspname, c.relname, rn.nspname, rc.relname, k.confdeltype::text, k.condeferrable,
       (SELECT array_agg(a.attname::text ORDER BY o.i) FROM unnest(k.conkey) WITH ORDINALITY o(attnum, i)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = o.attnum),
       (SELECT array_agg(a.attname::text ORDER BY o.i) FROM unnest(k.confkey) WITH ORDINALITY o(attnum, i)
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = o.attnum)
FROM pg_constraint k
     JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_class rc ON rc.oid = k.confrelid JOIN pg_namespace rn ON rn.oid = rc.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND n.nspname <> 'fm_console'
ORDER BY 2, 3, 1
"""


def read_catalogue(cursor: Cursor, schema: str) -> Catalogue:
    """Read the catalogue.

    Args:
        cursor: of the Nexus database.
        schema: where Nexus' tables are; foreign keys from other schemas into it are found as well.
    """
    columns: dict[Table, dict[str, Column]] = {}
    cursor.execute(_COLUMNS)
    for namespace, relation, name, *facts in cursor.fetchall():
        columns.setdefault(Table(namespace, relation), {})[name] = Column(name, *facts)
    cursor.execute(_FOREIGN_KEYS)
    foreign_keys = [
        ForeignKey(name, Table(ns, rel), tuple(cols), Table(rns, rrel), tuple(rcols), on_delete, deferrable)
        for name, ns, rel, rns, rrel, on_delete, deferrable, cols, rcols in cursor.fetchall()
    ]
    return Catalogue(schema, columns, foreign_keys)
