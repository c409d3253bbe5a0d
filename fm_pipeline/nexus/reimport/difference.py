"""Phases 2 to 5 as a difference: missing rows are deleted, changed ones updated, new ones inserted.

The result is the same as "delete everything and load again", at the cost of the changed rows only; equal rows are not
touched (docs/architecture.md, "Decisions").
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import column_list, comma, count
from fm_pipeline.db.table import Column, Table
from fm_pipeline.entities.registry import Entity
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.profile_fit import default_value

RowChange = Literal["delete", "insert", "change"]
# Written by the transaction itself, whatever FileMaker feeds.
OWN_COLUMNS = ("id", "created_at", "updated_at")
# Types that PostgreSQL cannot compare, or compares by something else (a box by its area): their text is compared.
_WITHOUT_EQUALITY = ("json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle")

# A join: PostgreSQL 14 compares each row with every element of an array that it must not be in, and a sync keeps many.
_NOT_KEPT = sql.SQL("NOT EXISTS (SELECT FROM unnest(%(kept)s::text[]) AS k(id) WHERE k.id = t.id::text)")


@dataclass(frozen=True)
class Difference:
    """How staged rows become rows of a Nexus table: one SQL expression for each written column.

    In the expressions `s` is the staged row, `t` the row that Nexus has (all NULL when there is none), and
    `%(now)s` the time of the run.
    """

    entity: Entity
    table: Table
    updates: Mapping[str, sql.Composable]
    inserts: Mapping[str, sql.Composable]
    resets: Sequence[str] = ()  # of the updates, the columns that FileMaker does not feed
    texts: Collection[str] = ()  # of the updates, the columns that are compared by their text
    kept: Sequence[str] = ()  # ids of rows that stay although they are not staged
    merged: str = ""  # a temporary view of the staged rows that keeps what users edited (`nexus/sync/merge.py`)

    @property
    def staged(self) -> sql.Identifier:
        """The rows to load: the staged ones, or the view in their place."""
        place = ("pg_temp", self.merged) if self.merged else ("fm_pipeline", self.entity.staged_table)
        return sql.Identifier(*place)

    def find_rows_to_delete(self, cursor: Cursor) -> int:
        """Fill the temporary table `gone_<table>` with ids of the rows to be deleted; return how many."""
        cursor.execute(
            sql.SQL(
                "CREATE TEMP TABLE {gone} ON COMMIT DROP AS SELECT t.id FROM {table} t"
                " WHERE NOT EXISTS (SELECT 1 FROM {staged} s WHERE s.nexus_id = t.id) AND {not_kept}"
            ).format(gone=gone(self.table), table=self.table.identifier, staged=self.staged, not_kept=_NOT_KEPT),
            {"kept": list(self.kept)},
        )
        return cursor.rowcount

    def update(self, cursor: Cursor, now: datetime) -> int:
        """Update the rows that differ; return how many."""
        names = list(self.updates)
        has_updated_at = "updated_at" in self.inserts
        cursor.execute(
            sql.SQL("UPDATE {table} t SET {settings} FROM {staged} s WHERE s.nexus_id = t.id AND {differs}").format(
                table=self.table.identifier,
                staged=self.staged,
                settings=comma(
                    [_set(name, self.updates[name]) for name in names]
                    + ([sql.SQL("updated_at = %(now)s")] if has_updated_at else [])
                ),
                differs=self.differs(),
            ),
            {"now": now},
        )
        return cursor.rowcount

    @property
    def written(self) -> set[str]:
        """The columns that an update sets."""
        return {*self.updates} | ({"updated_at"} & self.inserts.keys())

    def copy_changed(self, cursor: Cursor, into: sql.Identifier, columns: Mapping[str, Column], now: datetime) -> int:
        """Create a temporary table of the rows that differ, with all columns and new values; return how many.

        Args:
            columns: of the table; generated ones are left out.
        """
        values: list[sql.Composable] = []
        for name, column in columns.items():
            if name in self.updates:
                value: sql.Composable = sql.SQL("({})::{}").format(self.updates[name], sql.SQL(column.uncut_type))
            elif name in self.written:
                value = sql.SQL("%(now)s::{}").format(sql.SQL(column.type))
            else:
                value = sql.SQL("t.") + column_of(name)
            if not column.generated:
                values.append(sql.SQL("{} AS {}").format(value, column_of(name)))
        cursor.execute(
            sql.SQL(
                "CREATE TEMP TABLE {into} ON COMMIT DROP AS SELECT {values} FROM {table} t"
                " JOIN {staged} s ON s.nexus_id = t.id WHERE {differs}"
            ).format(
                into=into,
                values=comma(values),
                table=self.table.identifier,
                staged=self.staged,
                differs=self.differs(),
            ),
            {"now": now},
        )
        return cursor.rowcount

    def insert(self, cursor: Cursor, now: datetime) -> int:
        """Insert the rows that Nexus does not have; return how many."""
        # Columns of a missing row read as NULL, so one set of expressions serves both statements.
        cursor.execute(
            sql.SQL(
                "INSERT INTO {table} ({columns}) SELECT {values} FROM {staged} s"
                " LEFT JOIN {table} t ON t.id = s.nexus_id WHERE t.id IS NULL"
            ).format(
                table=self.table.identifier,
                staged=self.staged,
                columns=column_list(self.inserts),
                values=comma(list(self.inserts.values())),
            ),
            {"now": now},
        )
        return cursor.rowcount

    def list_ids(self, cursor: Cursor, change: RowChange, now: datetime, limit: int) -> list[tuple[str, str | None]]:
        """Return Nexus id and FileMaker id of the rows that would be deleted, inserted or changed, in a fixed order."""
        rows = {
            "delete": "SELECT t.id FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM {staged} s WHERE s.nexus_id = t.id)"
            " AND {not_kept}",
            "insert": "SELECT s.nexus_id FROM {staged} s LEFT JOIN {table} t ON t.id = s.nexus_id WHERE t.id IS NULL",
            "change": "SELECT t.id FROM {table} t JOIN {staged} s ON s.nexus_id = t.id WHERE {differs}",
        }[change]
        cursor.execute(
            sql.SQL(
                "SELECT r.id::text, coalesce(c.filemaker_key, d.filemaker_key, n.filemaker_key)"  # noqa: S608  # one of three constants
                f" FROM ({rows}) r(id)"
                " LEFT JOIN fm_pipeline.crosswalk c ON c.entity = %(entity)s AND c.nexus_id = r.id"
                # The other one of two patients with the same id.
                " LEFT JOIN fm_pipeline.retired_patient_ids d ON %(entity)s = 'patient' AND d.nexus_id = r.id"
                " LEFT JOIN {new} n ON n.nexus_id = r.id ORDER BY 1 LIMIT %(limit)s"
            ).format(
                table=self.table.identifier,
                staged=self.staged,
                differs=self.differs(),
                not_kept=_NOT_KEPT,
                new=sql.Identifier("fm_pipeline", self.entity.staged_table),
            ),
            {"kept": list(self.kept), "now": now, "entity": self.entity.name, "limit": limit},
        )
        return cursor.fetchall()

    def count_reset(self, cursor: Cursor, now: datetime) -> int:
        """Count the rows that would lose a value that only Nexus has."""
        if not self.resets:
            return 0
        cursor.execute(
            sql.SQL("SELECT count(*) FROM {staged} s JOIN {table} t ON t.id = s.nexus_id WHERE {differs}").format(
                table=self.table.identifier, staged=self.staged, differs=self.differs(self.resets)
            ),
            {"now": now},
        )
        return count(cursor)

    def compare(self, cursor: Cursor, now: datetime) -> tuple[int, int, int]:
        """Return the expected number of rows, the number in Nexus, and the number of missing or different rows."""
        cursor.execute(
            sql.SQL(
                "SELECT count(*), (SELECT count(*) FROM {table}), count(*) FILTER (WHERE t.id IS NULL OR {differs})"
                " FROM {staged} s LEFT JOIN {table} t ON t.id = s.nexus_id"
            ).format(table=self.table.identifier, staged=self.staged, differs=self.differs()),
            {"now": now},
        )
        staged, rows, unlike = cursor.fetchone() or (0, -1, -1)
        return int(staged) + self._count_kept(cursor), int(rows), int(unlike)

    def _count_kept(self, cursor: Cursor) -> int:
        """Count the rows that are kept although they are not staged."""
        if not self.kept:
            return 0
        cursor.execute(
            sql.SQL(
                "SELECT count(*) FROM {table} t WHERE t.id::text = ANY(%s)"
                " AND NOT EXISTS (SELECT 1 FROM {staged} s WHERE s.nexus_id = t.id)"
            ).format(table=self.table.identifier, staged=self.staged),
            (list(self.kept),),
        )
        return count(cursor)

    def differs(self, names: Sequence[str] = ()) -> sql.Composable:
        """Condition: the row in Nexus differs from the staged one, in these columns or in any that is updated."""
        names = names or list(self.updates)
        return sql.SQL("({old}) IS DISTINCT FROM ({new})").format(
            old=comma([self._by_bytes(name, sql.SQL("t.") + column_of(name)) for name in names]),
            new=comma([self._by_bytes(name, self.updates[name]) for name in names]),
        )

    def _by_bytes(self, name: str, value: sql.Composable) -> sql.Composable:
        # A different letter case or accent is a change of the record, also if the column's collation ignores it.
        return sql.SQL('({})::text COLLATE "C"').format(value) if name in self.texts else value


def plan_difference(
    entity: Entity,
    catalogue: Catalogue,
    fed_columns: Sequence[str],
    nexus_only: Literal["keep", "reset"],
) -> Difference:
    """Decide the expression of every column.

    Args:
        fed_columns: the columns that FileMaker feeds, by their names in Nexus.
        nexus_only: whether the other columns keep their value or go back to what a new row has.

    Raises:
        CatalogueStop: a fed column does not exist, or a column must be given and nothing feeds it.
    """
    table = catalogue.table(entity.table)
    columns = catalogue.columns[table]
    unknown = sorted(set(fed_columns) - set(columns))
    if unknown:
        raise CatalogueStop(
            f"The table {table} has no column {', '.join(unknown)}, which FileMaker's data would go into.",
            meaning="This release of Nexus is not one that the pipeline knows. Nothing was changed.",
            remedy="Take the fields out of the mapping profile, or tell the maintainers the release.",
        )
    computed = sorted(name for name in fed_columns if columns[name].generated)
    if computed:
        raise CatalogueStop(
            f"PostgreSQL computes the column {', '.join(computed)} of {table}, which FileMaker's data would go into.",
            meaning="This release of Nexus is not one that the pipeline knows. Nothing was changed.",
            remedy="Take the fields out of the mapping profile, or tell the maintainers the release.",
        )
    fed = {name: _staged_value(columns[name]) for name in fed_columns if name != "created_at"}
    defaults = {name: default_value(value, columns[name]) for name, value in entity.defaults.items() if name in columns}
    inserts: dict[str, sql.Composable] = {"id": sql.SQL("s.nexus_id")}
    if "created_at" in columns:
        inserts["created_at"] = sql.SQL("coalesce(s.source_created_at, %(now)s)")
    if "updated_at" in columns:
        inserts["updated_at"] = sql.SQL("%(now)s")
    inserts |= defaults | fed
    nobody_knows = sorted(name for name, column in columns.items() if column.must_be_given and name not in inserts)
    if unfed := [name for name in nobody_knows if name in entity.columns]:
        fields = ", ".join(dict.fromkeys(field for name in unfed for field in entity.columns[name].fields))
        raise CatalogueStop(
            f"Nothing feeds {', '.join(f'{table}.{name}' for name in unfed)}, which must have a value: FileMaker has"
            f" none of the fields that the mapping profile names for {fields} of {entity.name}.",
            meaning="No new row could be inserted. Nothing was changed.",
            remedy="Correct the names of the fields in the mapping profile; fm-pipeline check lists those that"
            " FileMaker does not have.",
        )
    if nobody_knows:
        raise CatalogueStop(
            f"The table {table} has columns that must be given and that the pipeline does not know:"
            f" {', '.join(nobody_knows)}.",
            meaning="No new row could be inserted. Nothing was changed.",
            remedy="Give them a default in the database, or tell the maintainers the release of Nexus.",
        )
    resets: dict[str, sql.Composable] = {}
    updates = dict(fed)
    if "created_at" in fed_columns:
        updates["created_at"] = sql.SQL("coalesce(s.source_created_at, t.created_at)")
    if nexus_only == "reset":
        resets = {
            name: defaults.get(name, sql.SQL("NULL::{}").format(sql.SQL(column.type)))
            for name, column in columns.items()
            if name not in (*OWN_COLUMNS, *fed_columns) and (name in defaults or not column.has_default)
        }
    updates |= resets
    texts = {name for name in updates if columns[name].is_text or columns[name].type in _WITHOUT_EQUALITY}
    return Difference(entity, table, updates, inserts, list(resets), texts)


def _staged_value(column: Column) -> sql.Composable:
    """Return the staged value, cast to the column's type; metadata are merged with those of Nexus."""
    if column.name != "filemaker_metadata":
        return sql.SQL("s.{}::{}").format(sql.Identifier(column.name), sql.SQL(column.uncut_type))
    imported_at = sql.SQL(
        "jsonb_build_object('imported_at', coalesce(t.filemaker_metadata ->> 'imported_at',"
        ' to_char(%(now)s::timestamptz, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\')))'
    )
    kept = sql.SQL(
        "CASE WHEN jsonb_typeof(t.filemaker_metadata) = 'object'"
        " THEN t.filemaker_metadata - 'other_addresses' ELSE '{}'::jsonb END"
    )
    return sql.SQL("({} || {} || s.filemaker_metadata)").format(imported_at, kept)


def unlinked_rows(cursor: Cursor, catalogue: Catalogue, entity: Entity) -> list[str]:
    """Ids of the rows that nothing links to FileMaker, of a table where these stay; else none."""
    if not entity.keeps_unlinked:
        return []
    cursor.execute(
        sql.SQL(
            "SELECT t.id::text FROM {} t WHERE NOT EXISTS (SELECT 1 FROM fm_pipeline.crosswalk c"
            " WHERE c.entity = %s AND c.nexus_id = t.id) ORDER BY 1"
        ).format(catalogue.table(entity.table).identifier),
        (entity.name,),
    )
    return [row[0] for row in cursor.fetchall()]


def gone(table: Table) -> sql.Identifier:
    """Return the name of the temporary table with the ids of a table's rows to be deleted."""
    return sql.Identifier(f"gone_{table.name}")


def _set(name: str, value: sql.Composable) -> sql.Composable:
    return sql.SQL("{} = {}").format(column_of(name), value)


def column_of(name: str) -> sql.Identifier:
    """Return a column's identifier for a statement with parameters, in which a % of its name must be doubled."""
    return sql.Identifier(name.replace("%", "%%"))
