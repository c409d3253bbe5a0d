"""Writes the rows of a backup, inside the transaction of a restore.

Equal rows are not touched. Rows that were created since are deleted only from tables that a reimport loads.
`restore_newer` deals with rows of other tables that refer to them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg2
from psycopg2 import sql

from fm_pipeline.db.digest import table_digest
from fm_pipeline.db.privileges import missing_privileges
from fm_pipeline.db.queries import column_list
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.backup.restore_newer import resolve_newer_rows
from fm_pipeline.nexus.backup.restore_state import RestoreState
from fm_pipeline.nexus.backup.restore_tables import LoadedTable, RestoredTable
from fm_pipeline.nexus.backup.restore_write import mark, write
from fm_pipeline.nexus.catalogue.not_valid_constraints import (
    NotValidConstraint,
    count_violations,
    not_valid_constraints_of,
)
from fm_pipeline.nexus.catalogue.table_details import enabled_triggers
from fm_pipeline.nexus.reimport.other_writes import TableStates, check_nothing_else_written, read_table_states
from fm_pipeline.pluralize import counted

# A row that one pass has restored may be deleted again by a key (ON DELETE CASCADE); the next pass restores it.
_PASSES = 3


@dataclass
class Restoration(RestoreState):
    """A restore inside its transaction. Locks are held, and every table of the backup is in its scratch table.

    Attributes:
        growing: tables to which triggers of the application may add rows.
    """

    growing: Collection[Table] = ()
    _forms: TableStates = field(default_factory=dict)

    def run(self) -> list[RestoredTable]:
        """Restore the rows.

        Raises:
            BackupStop: rows that were created after the backup cannot stay and `newer` is "stop"; or rows of the
                backup break a constraint that the role may not drop; or the result differs from the backup.
        """
        self.cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        self._forms = read_table_states(self.cursor)
        for loaded in self.tables:
            self.results[loaded.target] = RestoredTable(str(loaded.backup.table), loaded.backup.digest.rows)
        written = [loaded for loaded in self.tables if loaded.backup.role != "referenced"]
        with self.explain_constraint_violations():
            for loaded in written:
                self._find_gone(loaded)
                inserted, updated = mark(self.cursor, loaded)
                self.note(loaded.target, inserted=inserted, updated=updated)
            self._mark_referenced()
            taken_away = self._drop_violated_not_valid_constraints()
            resolve_newer_rows(self)
            changed = [loaded for loaded in self.tables if self.results[loaded.target].changed]
            losing = {table for table, result in self.results.items() if result.deleted or result.set_aside}
            new = [each.target for each in changed if self.results[each.target].inserted == each.backup.digest.rows]
            deleted = write(self.cursor, self.catalogue, changed, losing, new, self.tables)
            for _ in range(_PASSES - 1 if deleted else 0):
                if not (unlike := [loaded for loaded in written if self._is_unlike(loaded)]):
                    break
                write(self.cursor, self.catalogue, unlike, (), (), self.tables)
            self.cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for constraint in taken_away:
                constraint.put_back(self.cursor)
        self._check(written)
        return list(self.results.values())

    def _find_gone(self, loaded: LoadedTable) -> None:
        """Collect the rows of a replaced table that are missing from the backup. Other tables lose none here."""
        goes = sql.SQL("NOT {}").format(loaded.in_backup())
        self.cursor.execute(
            sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT t.* FROM {} t WHERE {}").format(
                loaded.gone, loaded.live, goes if loaded.backup.role == "replaced" else sql.SQL("false")
            )
        )
        self.note(loaded.target, deleted=self.cursor.rowcount)

    def _mark_referenced(self) -> None:
        """Mark missing rows that restored rows refer to, and the missing rows that these refer to in turn.

        Existing rows of referenced tables are not changed, and rows without a reference are not restored.
        """
        by_table = {loaded.target: loaded for loaded in self.tables}
        referenced = [loaded for loaded in self.tables if loaded.backup.role == "referenced"]
        for loaded in referenced:
            self.cursor.execute(
                sql.SQL(
                    "ALTER TABLE {scratch} ADD fm_pipeline_action text,"
                    " ADD fm_pipeline_missing boolean NOT NULL DEFAULT false;"
                    "UPDATE {scratch} b SET fm_pipeline_missing = true"
                    " WHERE NOT EXISTS (SELECT 1 FROM {live} t WHERE {same})"
                ).format(scratch=loaded.scratch.identifier, live=loaded.live, same=loaded.same("t", "b"))
            )
        keys = [
            key
            for key in self.catalogue.foreign_keys
            if key.table in by_table and key.references in {loaded.target for loaded in referenced}
        ]
        found = True
        while found:
            found = False
            for key in keys:
                child, parent = by_table[key.table], by_table[key.references]
                if not set(key.columns) <= set(child.backup.names):
                    continue
                chain = sql.SQL(" AND c.fm_pipeline_action IS NOT NULL" if child.backup.role == "referenced" else "")
                self.cursor.execute(
                    sql.SQL(
                        "UPDATE {parent} b SET fm_pipeline_action = 'insert'"
                        " WHERE b.fm_pipeline_missing AND b.fm_pipeline_action IS NULL"
                        " AND EXISTS (SELECT 1 FROM {child} c WHERE ({ours}) = ({theirs}){chain})"
                    ).format(
                        parent=parent.scratch.identifier,
                        child=child.scratch.identifier,
                        ours=column_list(key.columns, of="c"),
                        theirs=column_list(key.referenced_columns, of="b"),
                        chain=chain,
                    )
                )
                self.note(parent.target, inserted=self.cursor.rowcount)
                found = found or self.cursor.rowcount > 0
        self._refuse_to_add([loaded.target for loaded in referenced if self.results[loaded.target].inserted])

    def _refuse_to_add(self, tables: Sequence[Table]) -> None:
        """Refuse a role that may not add missing rows of referenced tables, before it has written anything.

        Raises:
            BackupStop: with the number of these rows.
        """
        if not (missing := missing_privileges(self.cursor, {table: {"INSERT"} for table in tables})):
            return
        rows = ", ".join(f"{self.results[table].inserted:,} of {table}" for table in sorted(missing))
        raise BackupStop(
            f"Rows to which rows of the backup refer are not there any more: {rows}. The role may not add them.",
            meaning="They were deleted since the backup was made. Nothing was changed.",
            remedy="Restore as the owner of these tables, who may add them.",
        )

    def _drop_violated_not_valid_constraints(self) -> list[NotValidConstraint]:
        """Drop the NOT VALID constraints that rows to be written violate; they are added again at the end.

        The owner of a table may drop its constraints. No other session sees that, because it happens inside this
        transaction.

        Raises:
            BackupStop: the role is not the owner.
        """
        taken_away, refused = [], []
        by_table = {loaded.target: loaded for loaded in self.tables}
        for loaded in self.tables:
            for constraint in not_valid_constraints_of(self.cursor, loaded.target):
                if not set(constraint.columns) <= set(loaded.backup.names):
                    continue

                def parents(table: Table) -> Sequence[sql.Composable]:
                    known = by_table.get(table)
                    return [table.identifier] + ([known.scratch.identifier] if known else [])

                rows = count_violations(
                    self.cursor, constraint, loaded.scratch.identifier, parents, "t.fm_pipeline_action IS NOT NULL"
                )
                if not rows:
                    continue
                said = f"{constraint.name} of {loaded.backup.table} ({counted(rows, 'row')})"
                if not constraint.ours:
                    refused.append(said)
                else:
                    taken_away.append(constraint)
                    self.notes.append(
                        f"The constraint {said} is NOT VALID, and these rows break it. It was dropped for the time of"
                        " the transaction and is there again, NOT VALID as before."
                    )
        if refused:
            raise BackupStop(
                f"Rows of the backup break constraints that are NOT VALID: {', '.join(refused)}. PostgreSQL refuses to"
                " write such rows, and the role does not own these tables.",
                meaning="Nothing was changed.",
                remedy="Restore as the owner of these tables: the restore then drops these constraints and adds them"
                " again in its transaction.",
            )
        for constraint in taken_away:
            constraint.take_away(self.cursor)
        return taken_away

    def _is_unlike(self, loaded: LoadedTable) -> bool:
        """Return whether rows differ from the backup, and mark those."""
        if table_digest(self.cursor, loaded.target, loaded.backup.names, like=loaded.backup.digest) == (
            loaded.backup.digest
        ):
            return False
        return any(mark(self.cursor, loaded))

    def _check(self, written: Sequence[LoadedTable]) -> None:
        """Check that all rows of the backup are restored, and that no other row or table was changed."""
        faults = []
        for loaded in written:
            table = loaded.backup.table
            digest = table_digest(self.cursor, loaded.target, loaded.backup.names, like=loaded.backup.digest)
            if digest != loaded.backup.digest:
                if unlike := sum(mark(self.cursor, loaded)):
                    faults.append(f"{unlike} rows of {table} are not as in the backup")
                if loaded.backup.role == "replaced":
                    faults.append(f"{table} has another digest than in the backup")
            self.note(loaded.target, newer=digest.rows - loaded.backup.digest.rows)
        others = check_nothing_else_written(self.cursor, self._forms, list(self.results), self.growing)
        if not others.holds:
            faults.append(f"other tables were written: {others.found}")
        if faults:
            triggers = enabled_triggers(self.cursor, [loaded.target for loaded in written])
            raise BackupStop(
                f"The restored rows are not those of the backup: {'; '.join(faults)}.",
                meaning="The transaction was rolled back; Nexus is unchanged.",
                remedy="Disable the triggers of these tables"
                + (f" ({', '.join(triggers)})" if triggers else ", and look for rules,")
                + " for the time of the restore, as the owner of a table (ALTER TABLE … DISABLE TRIGGER …), then start"
                " again.",
            )

    @contextmanager
    def explain_constraint_violations(self) -> Iterator[None]:
        """Turn an integrity error inside the block into a BackupStop that names the constraint."""
        try:
            yield
        except psycopg2.IntegrityError as error:
            diagnostics = error.diag
            name = (
                diagnostics.constraint_name or diagnostics.column_name or diagnostics.datatype_name or "of a partition"
            )
            targets = {loaded.target.name: str(loaded.backup.table) for loaded in self.tables}
            said = diagnostics.table_name or "a table"
            table = targets.get(said, said)
            name = name.replace(said, table)  # of a copy's unique index
            raise BackupStop(
                f"The constraint {name} of {table} refuses rows of the backup (SQLSTATE {error.pgcode}).",
                meaning="It did not hold for these rows when the backup was made, or other rows that stay are in the"
                " way, or it reads a secret that no backup holds. The transaction was rolled back; Nexus is unchanged.",
                remedy=f"Look the constraint up (psql: \\d {table}). If it is newer than the backup, or reads more than"
                " the row, its owner can drop it for the time of the restore.",
            ) from None
