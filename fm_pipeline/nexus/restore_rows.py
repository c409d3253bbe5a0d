"""The statements of a restore: what every table needs to have the rows of the backup again, and only those touched.

A row that is equal is left alone. Rows that users made since are deleted only from tables that a reimport fills
itself; from others never, and what they point to becomes NULL, or everything stops.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.nexus.backup_files import BackupStop
from fm_pipeline.nexus.catalogue import Catalogue, Table
from fm_pipeline.nexus.difference import count
from fm_pipeline.nexus.digest import table_digest
from fm_pipeline.nexus.other_writes import Forms, check_nothing_else_written, read_forms
from fm_pipeline.nexus.policy import BATCHES, DOCUMENTS, Policy
from fm_pipeline.nexus.references import MODELS, Reference, find_references
from fm_pipeline.nexus.restore_tables import Loaded, TableRestored, columns_of_row
from fm_pipeline.nexus.table_facts import columns_never_updated, triggers_of, unique_columns


@dataclass
class Restoration:
    """One restore inside its transaction: locks are held, every table of the backup is in its scratch table."""

    cursor: Cursor
    catalogue: Catalogue
    tables: list[Loaded]
    growing: Collection[Table] = ()  # triggers may add rows to these
    results: dict[Table, TableRestored] = field(default_factory=dict)
    _forms: Forms = field(default_factory=dict)

    def run(self) -> list[TableRestored]:
        """Bring the rows back.

        Raises:
            BackupStop: a row that a user made since points to one that goes, and its column may not be NULL; or a
                number in the backup means another row here; or the result is not what the backup holds.
        """
        self.cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        self._forms = read_forms(self.cursor)
        for loaded in self.tables:
            table = loaded.backup.table
            self.results[table] = TableRestored(str(table), loaded.backup.digest.rows)
        ordered = self._parents_first()
        replaced = [loaded for loaded in ordered if loaded.backup.role == "replaced"]
        written = [loaded for loaded in ordered if loaded.backup.role != "referenced"]
        for loaded in replaced:
            self._find_gone(loaded)
        self._mend([loaded.backup.table for loaded in replaced if self.results[loaded.backup.table].deleted])
        self._let_go(replaced)
        for loaded in reversed(replaced):
            self.cursor.execute(
                sql.SQL("DELETE FROM {} t USING {} g WHERE {}").format(loaded.live, loaded.gone, loaded.same("t", "g"))
            )
        self._add_referenced(ordered)
        for loaded in written:
            self._note(loaded.backup.table, updated=self._count_unlike(loaded))
            self._update(loaded, without=self._checked_at_once(loaded))
        for number, loaded in enumerate(written):
            later = {other.backup.table for other in written[number + 1 :]}
            empty = self._nullable(loaded, self._checked_at_once(loaded, later))
            self._note(loaded.backup.table, inserted=self._insert(loaded, sql.SQL("true"), empty))
        for loaded in written:  # what could not point yet to the rows that are there now
            self._set(loaded, self._updatable(loaded))
        self.cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self._check(written)
        return list(self.results.values())

    def _parents_first(self) -> list[Loaded]:
        """Deferred constraints do not need it, others do."""
        by_table = {loaded.backup.table: loaded for loaded in self.tables}
        before: dict[Table, set[Table]] = {table: set() for table in by_table}
        for key in self.catalogue.foreign_keys:
            if key.table in by_table and key.references in by_table and key.table != key.references:
                before[key.table].add(key.references)
        try:
            return [by_table[table] for table in TopologicalSorter(before).static_order()]
        except CycleError:
            return self.tables

    def _find_gone(self, loaded: Loaded) -> None:
        self.cursor.execute(
            sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT t.* FROM {} t WHERE NOT {}").format(
                loaded.gone, loaded.live, loaded.in_backup()
            )
        )
        self._note(loaded.backup.table, deleted=self.cursor.rowcount)

    def _mend(self, losing: list[Table]) -> None:
        """Empty what still points to a row that goes, or stop. Rows of the backup get their own values anyway."""
        by_table = {loaded.backup.table: loaded for loaded in self.tables}
        for reference in self._references(losing):
            condition = sql.SQL("t.{column}::text IN (SELECT id::text FROM {gone})").format(
                column=sql.Identifier(reference.column), gone=by_table[reference.to].gone
            )
            if reference.content_type_column:
                condition += sql.SQL(" AND t.{} = ANY({})").format(
                    sql.Identifier(reference.content_type_column), sql.Literal(list(reference.content_types))
                )
            own = by_table.get(reference.table)
            if own is not None and own.backup.role == "replaced":
                continue  # its rows are the backup's or go
            if own is not None and own.backup.role == "kept" and reference.column in own.writable:
                condition += sql.SQL(" AND NOT {}").format(own.in_backup())
            self.cursor.execute(
                sql.SQL("SELECT count(*) FROM {} t WHERE {}").format(reference.table.identifier, condition)
            )
            rows = count(self.cursor)
            if rows and not reference.nullable:
                raise BackupStop(
                    f"{rows} row(s) of {reference.table}.{reference.column} ({reference.constraint}) were made since"
                    f" the backup and point to rows of {reference.to} that it does not have; the column may not be"
                    " empty.",
                    meaning="They would be lost or left without their owner. Nothing was changed.",
                    remedy=f"Decide in Nexus what becomes of these rows of {reference.table}, then start again.",
                )
            if rows:
                self.cursor.execute(
                    sql.SQL("UPDATE {} t SET {} = NULL WHERE {}").format(
                        reference.table.identifier, sql.Identifier(reference.column), condition
                    )
                )
                self._note(reference.table, emptied=rows)

    def _references(self, losing: list[Table]) -> Iterator[Reference]:
        """Of every table, as the reimport finds them, and of documents and batches, which it leaves to relinking."""
        # Tables of ours are in no catalogue, and nothing refers to them.
        known = [table for table in losing if table in self.catalogue.columns]
        yield from find_references(self.cursor, Policy(self.catalogue, (), ()), {}, known)
        patients = self.catalogue.table("patients")
        if patients not in known:
            return
        self.cursor.execute(
            sql.SQL("SELECT array_agg(id) FROM {} WHERE model = %s").format(
                self.catalogue.table("django_content_type").identifier
            ),
            (MODELS["patients"],),
        )
        row = self.cursor.fetchone()
        types = tuple(row[0] or ()) if row else ()
        for generic in self.catalogue.generic_keys:
            if types and generic.table in {self.catalogue.table(name) for name in (DOCUMENTS, BATCHES)}:
                nullable = not self.catalogue.columns[generic.table][generic.object_id_column].not_null
                column, type_column = generic.object_id_column, generic.content_type_column
                yield Reference(generic.table, column, patients, "generic key", nullable, type_column, types)

    def _add_referenced(self, ordered: list[Loaded]) -> None:
        """Add rows that restored rows refer to and that are not there (any more), with what these refer to in turn."""
        by_table = {loaded.backup.table: loaded for loaded in ordered}
        referenced = [loaded for loaded in ordered if loaded.backup.role == "referenced"]
        for loaded in referenced:
            self.cursor.execute(
                sql.SQL(
                    "ALTER TABLE {scratch} ADD fm_needed boolean NOT NULL DEFAULT false,"
                    " ADD fm_missing boolean NOT NULL DEFAULT false;"
                    "UPDATE {scratch} b SET fm_missing = true WHERE NOT EXISTS (SELECT 1 FROM {live} t WHERE {same})"
                ).format(scratch=loaded.scratch.identifier, live=loaded.live, same=loaded.same("t", "b"))
            )
        keys = [
            key
            for key in self.catalogue.foreign_keys
            if key.table in by_table and key.references in {loaded.backup.table for loaded in referenced}
        ]
        found = True
        while found:
            found = False
            for key in keys:
                child, parent = by_table[key.table], by_table[key.references]
                if not set(key.columns) <= set(child.backup.names):
                    continue
                chain = sql.SQL(" AND c.fm_needed AND c.fm_missing" if child.backup.role == "referenced" else "")
                self.cursor.execute(
                    sql.SQL(
                        "UPDATE {parent} b SET fm_needed = true WHERE NOT b.fm_needed"
                        " AND EXISTS (SELECT 1 FROM {child} c WHERE ({ours}) = ({theirs}){chain})"
                    ).format(
                        parent=parent.scratch.identifier,
                        child=child.scratch.identifier,
                        ours=columns_of_row("c", key.columns),
                        theirs=columns_of_row("b", key.referenced_columns),
                        chain=chain,
                    )
                )
                found = found or self.cursor.rowcount > 0
        for loaded in referenced:
            self._refuse_another_meaning(loaded)
            missing = sql.SQL("b.fm_needed AND b.fm_missing")
            self.cursor.execute(
                sql.SQL("SELECT count(*) FROM {} b WHERE {}").format(loaded.scratch.identifier, missing)
            )
            # PostgreSQL wants the privilege also for no rows, and only another server lacks rows of these tables.
            if count(self.cursor):
                self._note(loaded.backup.table, inserted=self._insert(loaded, missing))

    def _refuse_another_meaning(self, loaded: Loaded) -> None:
        """A number is only the same row if what must be unique in it is the same; uuids speak for themselves."""
        types = {column.name: column.type for column in loaded.backup.columns}
        if not any(types[name] in ("integer", "bigint", "smallint") for name in loaded.key):
            return
        unique = [name for name in unique_columns(self.cursor, loaded.backup.table) if name in loaded.backup.names]
        if not unique:
            return
        self.cursor.execute(
            sql.SQL(
                "SELECT count(*) FROM {} b JOIN {} t ON {} WHERE b.fm_needed AND ROW({}) IS DISTINCT FROM ROW({})"
            ).format(
                loaded.scratch.identifier,
                loaded.live,
                loaded.same("t", "b"),
                columns_of_row("t", unique),
                columns_of_row("b", unique),
            )
        )
        if different := count(self.cursor):
            raise BackupStop(
                f"{different} row(s) of {loaded.backup.table} that the backup refers to by number are others here"
                f" ({', '.join(unique)} differ).",
                meaning="Restored rows would belong to somebody or something else. Nothing was changed.",
                remedy=f"Give the rows of {loaded.backup.table} the numbers and names that they had, then start again.",
            )

    def _updatable(self, loaded: Loaded) -> list[str]:
        """The columns that may be set in a row that is there; none when no key tells which row it is."""
        fixed = {*loaded.key, *columns_never_updated(self.cursor, loaded.backup.table)}
        return [name for name in loaded.writable if name not in fixed] if loaded.key else []

    def _nullable(self, loaded: Loaded, names: Iterable[str]) -> list[str]:
        columns = self.catalogue.columns.get(loaded.backup.table, {})
        return [name for name in names if name in columns and not columns[name].not_null]

    def _checked_at_once(self, loaded: Loaded, references: Collection[Table] | None = None) -> set[str]:
        """Columns whose foreign key is checked with each statement, not at the end.

        Args:
            references: only keys to one of these tables; None for all.
        """
        keys = [
            key
            for key in self.catalogue.foreign_keys
            if key.table == loaded.backup.table and (references is None or key.references in references)
        ]
        columns = {column for key in keys if not key.deferrable for column in key.columns}
        return columns & set(self._updatable(loaded))

    def _let_go(self, replaced: list[Loaded]) -> None:
        """Rows that stay or go let go of rows that go, where a key would not wait for the end; they are set later."""
        losing = {loaded.backup.table: loaded for loaded in replaced if self.results[loaded.backup.table].deleted}
        for loaded in replaced:
            own = set(self._nullable(loaded, loaded.writable))
            for key in self.catalogue.foreign_keys:
                if key.table != loaded.backup.table or key.references not in losing or key.deferrable:
                    continue
                if not set(key.columns) <= own:
                    continue
                self.cursor.execute(
                    sql.SQL("UPDATE {} t SET {} WHERE EXISTS (SELECT 1 FROM {} g WHERE ({}) = ({}))").format(
                        loaded.live,
                        sql.SQL(", ").join(sql.SQL("{} = NULL").format(sql.Identifier(name)) for name in key.columns),
                        losing[key.references].gone,
                        columns_of_row("t", key.columns),
                        columns_of_row("g", key.referenced_columns),
                    )
                )

    def _count_unlike(self, loaded: Loaded) -> int:
        """How many rows are there and are not as in the backup."""
        if not (names := self._updatable(loaded)):
            return 0
        self.cursor.execute(
            sql.SQL("SELECT count(*) FROM {} t JOIN {} b ON {} WHERE ROW({})::text <> ROW({})::text").format(
                loaded.live,
                loaded.scratch.identifier,
                loaded.same("t", "b"),
                columns_of_row("t", names),
                columns_of_row("b", names),
            )
        )
        return count(self.cursor)

    def _update(self, loaded: Loaded, without: Collection[str]) -> None:
        names = self._updatable(loaded)
        # Two rows may have exchanged what must be unique (a record number): it is free before it is given again.
        unique = unique_columns(self.cursor, loaded.backup.table)
        if freed := self._nullable(loaded, [name for name in names if name in unique]):
            self._set(loaded, freed, empty=True)
        self._set(loaded, [name for name in names if name not in without])

    def _set(self, loaded: Loaded, names: list[str], *, empty: bool = False) -> None:
        """Give the rows that differ from the backup's in one of some columns its values, or none."""
        if not names:
            return
        value = sql.SQL("{} = NULL") if empty else sql.SQL("{} = b.{}")
        self.cursor.execute(
            sql.SQL(
                "UPDATE {live} t SET {values} FROM {scratch} b WHERE {same} AND ROW({old})::text <> ROW({new})::text"
            ).format(
                live=loaded.live,
                values=sql.SQL(", ").join(
                    value.format(*[sql.Identifier(name)] * (1 if empty else 2)) for name in names
                ),
                scratch=loaded.scratch.identifier,
                same=loaded.same("t", "b"),
                old=columns_of_row("t", names),
                new=columns_of_row("b", names),
            )
        )

    def _insert(self, loaded: Loaded, condition: sql.Composable, empty: Collection[str] = ()) -> int:
        self.cursor.execute(
            sql.SQL(
                "INSERT INTO {live} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {scratch} b"
                " WHERE {condition} AND NOT EXISTS (SELECT 1 FROM {live} t WHERE {same})"
            ).format(
                live=loaded.live,
                columns=sql.SQL(", ").join(map(sql.Identifier, loaded.writable)),
                values=sql.SQL(", ").join(
                    sql.SQL("NULL") if name in empty else sql.SQL("b.{}").format(sql.Identifier(name))
                    for name in loaded.writable
                ),
                scratch=loaded.scratch.identifier,
                condition=condition,
                same=loaded.same("t", "b"),
            )
        )
        return self.cursor.rowcount

    def _check(self, written: list[Loaded]) -> None:
        """Every row of the backup is there as it was, replaced tables have no other, and no other table was written."""
        faults = []
        for loaded in written:
            table = loaded.backup.table
            self.cursor.execute(
                sql.SQL("SELECT count(*) FROM {} b LEFT JOIN {} t ON {} WHERE {} IS DISTINCT FROM {}").format(
                    loaded.scratch.identifier, loaded.live, loaded.same("t", "b"), loaded.row("t"), loaded.row("b")
                )
            )
            if unlike := count(self.cursor):
                faults.append(f"{unlike} rows of {table} are not as in the backup")
            digest = table_digest(self.cursor, table, loaded.backup.names, like=loaded.backup.digest)
            if loaded.backup.role == "replaced" and digest != loaded.backup.digest:
                faults.append(f"{table} has another digest than in the backup")
            self._note(table, newer=digest.rows - loaded.backup.digest.rows)
        others = check_nothing_else_written(self.cursor, self._forms, list(self.results), self.growing)
        if not others.holds:
            faults.append(f"other tables were written: {others.found}")
        if faults:
            triggers = triggers_of(self.cursor, [loaded.backup.table for loaded in written])
            raise BackupStop(
                f"The restored rows are not those of the backup: {'; '.join(faults)}.",
                meaning="The transaction was rolled back; Nexus is unchanged.",
                remedy="Disable the triggers of these tables"
                + (f" ({', '.join(triggers)})" if triggers else ", and look for rules,")
                + " for the time of the restore, as the owner of a table (ALTER TABLE … DISABLE TRIGGER …), then start"
                " again.",
            )

    def _note(self, table: Table, **rows: int) -> None:
        old = self.results.get(table) or TableRestored(str(table), 0)
        if "emptied" in rows:
            rows["emptied"] += old.emptied
        self.results[table] = replace(old, **rows)  # type: ignore[arg-type]  # all counts
