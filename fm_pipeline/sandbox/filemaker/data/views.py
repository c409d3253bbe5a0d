"""Converts rows of a layout to JSON objects: `fieldData`, `portalData`, `recordId`, `modId`, `portalDataInfo`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fm_pipeline.sandbox.filemaker.data import values
from fm_pipeline.sandbox.filemaker.data.find_requests import Condition
from fm_pipeline.sandbox.filemaker.data.schema import LayoutDefinition, Occurrence, Portal
from fm_pipeline.sandbox.filemaker.data.store import Store, StoreTable, cell_name

NO_ACCESS = "<No Access>"

# JSON key, column of the SQLite row, how to write it
_Cell = tuple[str, str, Callable[[str], Any]]


@dataclass(frozen=True)
class ResponseContext:
    """What is the same for every row of a response."""

    store: Store
    database: str
    dateformat: int
    locale: values.Locale
    no_access: Mapping[str, Sequence[str]]
    container: Callable[[str], str]
    global_values: Mapping[tuple[str, str, int], str]


@dataclass(frozen=True)
class PortalWindow:
    """The rows of a portal to show: first row, counted from 1, and number of rows."""

    offset: int
    limit: int


@dataclass(frozen=True)
class _Related:
    """A related table: how its rows are found, which cells are shown, and tables that are related to it in turn."""

    occurrence: Occurrence
    table: StoreTable
    ours: str
    theirs: str
    cells: list[_Cell]
    further: list[_Related]
    is_global: bool


class View:
    """A layout that is prepared for writing rows.

    Args:
        page: what is the same for every row.
        layout: whose fields and portals are shown.
        windows: the portals to show, by key, each with its rows.
    """

    def __init__(self, page: ResponseContext, layout: LayoutDefinition, windows: Mapping[str, PortalWindow]) -> None:
        self.page = page
        self.layout = layout
        self.table = page.store.table(page.database, layout.table)
        own = [name for name in layout.fields if "::" not in name]
        self._cells = self._prepare(self.table, own)
        self._related = self._prepare_related()
        self._portals = [
            (portal, windows[portal.key], self._relation(portal.occurrence, portal.fields))
            for portal in layout.portals
            if portal.key in windows
        ]

    def rows(
        self, db: sqlite3.Connection, condition: Condition, order: str, limit: int, offset: int
    ) -> list[dict[str, Any]]:
        """Return the records that meet the condition, as JSON objects."""
        keys = {related.ours for related in self._related}
        keys |= {relation.ours for _, _, relation in self._portals}
        columns = dict.fromkeys(["record_id", "mod_id", *(c for _, c, _ in self._cells), *keys])
        sql = (
            f"SELECT {', '.join(f'r.{column}' for column in columns)} FROM {self.table.rows} r "  # noqa: S608
            f"WHERE {condition.sql} ORDER BY {order}r.record_id LIMIT ? OFFSET ?"
        )
        found = db.execute(sql, (*condition.parameters, limit, offset)).fetchall()
        return [self._row(db, row) for row in found]

    def _row(self, db: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
        fields = {name: write(row[column]) for name, column, write in self._cells}
        fields |= self._firsts(db, self._related, row)
        portals: dict[str, list[dict[str, Any]]] = {}
        infos = []
        for portal, window, relation in self._portals:
            portals[portal.key], info = self._portal(db, portal, window, relation, self._match(relation, row))
            infos.append(info)
        return {
            "fieldData": fields,
            "portalData": portals,
            "recordId": str(row["record_id"]),
            "modId": str(row["mod_id"]),
            "portalDataInfo": infos,
        }

    def _portal(
        self, db: sqlite3.Connection, portal: Portal, window: PortalWindow, relation: _Related, key: object
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        where = f"FROM {relation.table.rows} WHERE {relation.theirs} = ?"
        found = db.execute(f"SELECT count(*) {where}", (key,)).fetchone()[0]
        order = "".join(
            f"{relation.table.key(name.removeprefix('-'))} {'DESC' if name.startswith('-') else 'ASC'}, "
            for name in portal.sort
        )
        rows = db.execute(
            f"SELECT * {where} ORDER BY {order}record_id LIMIT ? OFFSET ?", (key, window.limit, window.offset - 1)
        ).fetchall()
        shown = [
            {"recordId": str(row["record_id"])}
            | {name: write(row[column]) for name, column, write in relation.cells}
            | self._firsts(db, relation.further, row)
            | {"modId": str(row["mod_id"])}
            for row in rows
        ]
        info: dict[str, Any] = {"portalObjectName": portal.name} if portal.name else {}
        info |= {"database": self.page.database, "table": portal.occurrence}
        return shown, info | {"foundCount": found, "returnedCount": len(shown)}

    def _firsts(self, db: sqlite3.Connection, relations: Sequence[_Related], row: sqlite3.Row) -> dict[str, Any]:
        """Return the fields of the first related record of each relation."""
        fields: dict[str, Any] = {}
        for related in relations:
            first = self._first(db, related, self._match(related, row))
            fields |= {name: write(first[column]) if first else "" for name, column, write in related.cells}
        return fields

    def _match(self, related: _Related, row: sqlite3.Row) -> object:
        """Return the value that related rows have to have: of a global field, the one that this session set."""
        base, name = related.occurrence.table, related.occurrence.match[0]
        field = self.page.store.table(self.page.database, base).fields[name] if related.is_global else None
        if field is None:
            return row[related.ours]
        return values.sort_key(field.type, self.page.global_values.get((base, name, 1), ""))

    def _first(self, db: sqlite3.Connection, related: _Related, key: object) -> sqlite3.Row | None:
        sql = f"SELECT * FROM {related.table.rows} WHERE {related.theirs} = ? ORDER BY record_id LIMIT 1"  # noqa: S608
        row: sqlite3.Row | None = db.execute(sql, (key,)).fetchone()
        return row

    def _prepare(self, table: StoreTable, names: Sequence[str], prefix: str = "") -> list[_Cell]:
        hidden = self.page.no_access.get(table.name, ())
        cells: list[_Cell] = []
        for name in names:
            field = table.fields[name]
            write = (lambda _: NO_ACCESS) if name in hidden else self._writer(field.type)
            for n in range(1, self.layout.repetitions.get(prefix + name, field.repetitions) + 1):
                key = name if field.repetitions == 1 else cell_name(name, n)
                shown = self._of_session(table.name, name, n, write) if field.is_global else write
                cells.append((prefix + key, table.column(name, n), shown))
        return cells

    def _of_session(self, table: str, name: str, n: int, write: Callable[[str], Any]) -> Callable[[str], Any]:
        text = self.page.global_values.get((table, name, n), "")
        return lambda _: write(text)

    def _writer(self, kind: Any) -> Callable[[str], Any]:
        if kind == "container":
            return self.page.container
        if kind in ("text", "time"):
            return str
        dateformat, locale = self.page.dateformat, self.page.locale
        return lambda text: values.render(kind, text, dateformat, locale)

    def _prepare_related(self) -> list[_Related]:
        by_occurrence: dict[str, list[str]] = {}
        for name in self.layout.fields:
            if "::" in name:
                occurrence, _, field = name.partition("::")
                by_occurrence.setdefault(occurrence, []).append(field)
        return [self._relation(name, fields) for name, fields in by_occurrence.items()]

    def _relation(self, name: str, fields: Sequence[str], base: StoreTable | None = None) -> _Related:
        """Prepare the related table of an occurrence. A field may be of a table further on, as `TO::field`."""
        store, base = self.page.store, base or self.table
        occurrence = store.occurrence(self.page.database, base.name, name)
        table = store.table(self.page.database, occurrence.related_table)
        ours, theirs = occurrence.match
        cells = self._prepare(table, [field for field in fields if "::" not in field], f"{name}::")
        beyond: dict[str, list[str]] = {}
        for field in fields:
            if "::" in field:
                beyond.setdefault(field.partition("::")[0], []).append(field.partition("::")[2])
        further = [self._relation(each, names, table) for each, names in beyond.items()]
        key = related_key(store, table, theirs)
        return _Related(occurrence, table, base.key(ours), key, cells, further, base.fields[ours].is_global)


def related_key(store: Store, table: StoreTable, field: str) -> str:
    """Return the key column of a match field, and create its index."""
    key = table.key(field)
    store.index(table, key)
    return key
