"""Writes what a build found: staged rows, outcomes, findings; COPY in blocks, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.copy import copy_rows
from fm_pipeline.db.table import Column
from fm_pipeline.entities.registry import Entity
from fm_pipeline.entities.rules import Rules
from fm_pipeline.staging.record import Record
from fm_pipeline.staging.transforms.readers import Row

_ROWS_A_BLOCK = 5000
_LONG_A_BLOCK = 1 << 23  # characters of long records; each of the others has few
_OUTCOME_COLUMNS = ("entity", "record_id", "filemaker_id", "outcome", "rule", "unit", "inputs")
_FINDING_COLUMNS = ("entity", "record_id", "filemaker_id", "rule", "action", "field")


class StagingWriter:
    """The tables of one build.

    Args:
        cursor: inside the build's transaction.
        entity: whose staged table is written.
        columns: of Nexus; a value that is longer than its column is noticed.
    """

    def __init__(self, cursor: Cursor, entity: Entity, rules: Rules, columns: Mapping[str, Column]) -> None:
        self._cursor, self._entity, self._rules = cursor, entity, rules
        self._columns = entity.staged_columns
        self._target = f"fm_pipeline.{entity.staged_table}"
        lengths = {name: column.most_characters for name, column in columns.items()}
        self._lengths = [(name, length) for name in self._columns if (length := lengths.get(name))]
        self._outcomes: list[Sequence[object]] = []
        self._findings: list[Sequence[object]] = []
        self._staged: list[Sequence[object]] = []
        self._long = 0

    def clear(self, entities: Sequence[str]) -> None:
        """Remove what an earlier build left."""
        for table in ("staged_outcomes", "staged_findings", "staged_builds"):
            self._cursor.execute(
                sql.SQL("DELETE FROM {} WHERE entity = ANY(%s)").format(sql.Identifier("fm_pipeline", table)),
                (list(entities),),
            )
        staged = sql.Identifier("fm_pipeline", self._entity.staged_table)
        if self._entity.files:  # documents and images share a table
            self._cursor.execute(sql.SQL("DELETE FROM {} WHERE entity = %s").format(staged), (self._entity.name,))
        else:
            self._cursor.execute(sql.SQL("DELETE FROM {}").format(staged))

    def put_aside(self) -> sql.Identifier:
        """Write the rows to a temporary table first, without the work of an index; returns its name."""
        aside = sql.Identifier("pg_temp", "rows_read")
        self._cursor.execute(
            sql.SQL("CREATE TEMP TABLE rows_read (LIKE {}) ON COMMIT DROP").format(
                sql.Identifier("fm_pipeline", self._entity.staged_table)
            )
        )
        self._target = aside.as_string(self._cursor)
        return aside

    def notice_lengths(self, record: Record, row: Row) -> None:
        """Notice the values that their column in Nexus does not take."""
        for column, length in self._lengths:
            value = row.get(column)
            if isinstance(value, str) and len(value) > length:
                record.notice("value_too_long", column)

    def end(self, entity: str, record: Record) -> bool:
        """Decide how a record ends and write it down; true when its row may be staged."""
        filemaker_id = record.line("filemaker_id") or None
        rule, outcome = None, "ready"
        if record.noticed:
            rule = self._rules.outcome({rule for rule, _ in record.noticed})
            if rule:
                outcome = "skipped" if self._rules[rule].action == "skip" else "quarantined"
        self._outcomes.append((entity, record.record_id, filemaker_id, outcome, rule, record.unit, record.inputs))
        for noticed, field in record.noticed:
            action = self._rules[noticed].action
            if action != "skip":
                self._findings.append((entity, record.record_id, filemaker_id, noticed, action, field))
        if record.long:
            self._long += record.long
        if len(self._outcomes) >= _ROWS_A_BLOCK or self._long >= _LONG_A_BLOCK:
            self.flush()
        return rule is None

    def stage(self, row: Row) -> None:
        """Write a row of the staged table."""
        self._staged.append(tuple(map(row.get, self._columns)))

    def flush(self) -> None:
        """Write what is waiting."""
        for target, columns, rows in (
            ("fm_pipeline.staged_outcomes", _OUTCOME_COLUMNS, self._outcomes),
            ("fm_pipeline.staged_findings", _FINDING_COLUMNS, self._findings),
            (self._target, self._columns, self._staged),
        ):
            if rows:
                rows.sort(key=itemgetter(0, 1))  # nearer to the order of the index; a block has its neighbours together
                copy_rows(self._cursor, target, columns, rows)
                rows.clear()
        self._long = 0
