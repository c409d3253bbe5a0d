"""Rows that users created after the backup and that cannot stay as they are when it is restored.

They refer to a row that is deleted (a patient that only the reimport loaded), or hold a unique value that a row of the
backup needs (an invoice's number). A reference is re-pointed to the backup's row of the same FileMaker record, else set
to NULL if the column allows it. Otherwise, and only on request, the row is set aside: moved with its dependent rows,
unchanged, into `fm_pipeline.set_aside_rows`. The report names all of them by id.

New rows of tables that a reimport loads are deleted in any case. Those that come from no FileMaker record, because
users entered them, are saved in `fm_pipeline.set_aside_rows` too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg2
from psycopg2 import sql

from fm_pipeline.db.privileges import missing_privileges
from fm_pipeline.db.queries import column_list, row_as_json
from fm_pipeline.db.table import Table
from fm_pipeline.entities.registry import loaded as loaded_entities
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.backup.restore_state import NewerRows, NewerRowsAction, RestoreState
from fm_pipeline.nexus.backup.restore_tables import (
    INSERT,
    REPLACE,
    UPDATE,
    LoadedTable,
    filemaker_keys,
)
from fm_pipeline.nexus.backup.restore_write import conflicting_keys
from fm_pipeline.nexus.catalogue.schema import GenericKey
from fm_pipeline.nexus.catalogue.table_details import key_columns
from fm_pipeline.nexus.catalogue.unique_rules import unique_rules
from fm_pipeline.nexus.reimport.references import Reference, find_references
from fm_pipeline.nexus.staged_registry import read_registry
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS
from fm_pipeline.nexus.table_policy import LOADED, MODELS, Policy

SET_ASIDE = Table("fm_pipeline", "set_aside_rows")
_SHOWN = 50  # ids of a table in the text of an error


def resolve_newer_rows(state: RestoreState) -> None:
    """Find these rows and resolve each of them; `state.newer_rows` says how.

    Raises:
        BackupStop: rows would have to be set aside, and that was not requested; names all of them.
    """
    newer = _NewerRowsResolver(state)
    newer.save_rows_without_source()
    newer.repoint_references()
    newer.set_aside_conflicting_rows()
    newer.refuse_conflicts_with_added_rows()
    aside = [rows for rows in state.newer_rows if rows.done == "set aside"]
    if aside and state.newer == "stop":
        listed = "; ".join(
            rows.sentence(_SHOWN).replace(": set aside (", " were created since the backup and cannot stay (")
            for rows in aside
        )
        raise BackupStop(
            f"{listed}.",
            meaning="They refer to rows that are missing from the backup and the reference must not be NULL, they hold"
            " a value that a row of the backup needs, or they depend on such a row. Nothing was changed.",
            remedy="Start again with --newer set-aside (in Dagster: newer: set-aside): the restore then moves these"
            f" rows unchanged into the table {SET_ASIDE}, from where they can be brought back. Or change or delete them"
            " in Nexus. Their files in S3 stay where they are.",
        )


@dataclass
class _NewerRowsResolver:
    state: RestoreState
    aside: dict[Table, list[sql.Identifier]] = field(default_factory=dict)  # temporary tables of rows set aside

    def __post_init__(self) -> None:
        self.cursor = self.state.cursor
        self.catalogue = self.state.catalogue
        self.by_table = {loaded.target: loaded for loaded in self.state.tables}

    def save_rows_without_source(self) -> None:
        """Save deleted rows that come from no FileMaker record, so that no reimport would load them again."""
        for loaded in self.state.tables:
            table = loaded.target
            if not self.state.results[table].deleted or table not in self.catalogue.columns:
                continue
            entered: sql.Composable = sql.SQL("true")
            if "id" in loaded.key:  # a partitioned table has further columns in its key
                entered = sql.SQL(
                    "NOT EXISTS (SELECT 1 FROM fm_pipeline.crosswalk c WHERE c.nexus_id::text = t.id::text)"
                )
            self.cursor.execute(
                sql.SQL("SELECT {} FROM {} t WHERE {} ORDER BY 1").format(self._id_of(table), loaded.gone, entered)
            )
            ids = [row[0] for row in self.cursor.fetchall()]
            self._save(table, loaded.gone, entered)
            self._note(table, str(table), "deleted, and saved in fm_pipeline.set_aside_rows", ids)

    def repoint_references(self) -> None:
        """Re-point references to deleted rows, or set them to NULL, or set their rows aside."""
        losing = [table for table in self.by_table if self.state.results[table].deleted]
        for reference in self._references(losing):
            own = self.by_table.get(reference.table)
            if own is not None and own.backup.role == "replaced":
                continue  # its rows are the backup's, or are deleted
            condition = self._points_to(reference, self.by_table[reference.to].gone)
            if own is not None and own.backup.role == "kept" and reference.column in own.writable:
                condition += sql.SQL(" AND NOT {}").format(own.in_backup())
            if not self._ids(reference.table, condition):
                continue
            if not reference.generated:
                self._repoint(reference, condition)
            if reference.nullable:
                self._empty(reference, condition)
            self._set_aside(reference.table, _words_of(reference), condition)

    def set_aside_conflicting_rows(self) -> None:
        """Set aside rows that hold a unique value of a row of the backup."""
        for loaded in self.state.tables:
            if loaded.backup.role != "kept" or not loaded.key or not self.state.results[loaded.target].changed:
                continue
            for rule in unique_rules(self.cursor, loaded.target):
                newer = sql.SQL("NOT {}").format(loaded.in_backup())
                written = loaded.marked(INSERT, UPDATE, REPLACE)
                for query in conflicting_keys(loaded, rule, of=newer, into=written):
                    condition = sql.SQL("({}) IN ({})").format(column_list(loaded.key, of="t"), query)
                    self._set_aside(loaded.target, f"{loaded.target} ({rule.name})", condition)

    def refuse_conflicts_with_added_rows(self) -> None:
        """Refuse to add rows of referenced tables, such as clinics, if others have their unique values by now.

        Raises:
            BackupStop: names these others, which a restore neither changes nor sets aside.
        """
        found = []
        for loaded in self.state.tables:
            if loaded.backup.role != "referenced" or not loaded.key or not self.state.results[loaded.target].inserted:
                continue
            for rule in unique_rules(self.cursor, loaded.target):
                if not set(rule.columns) <= set(loaded.backup.names):
                    continue  # a secret: no backup holds it, and perhaps the role may not read it
                for query in conflicting_keys(loaded, rule, of=sql.SQL("true"), into=loaded.marked(INSERT)):
                    condition = sql.SQL("({}) IN ({})").format(column_list(loaded.key, of="t"), query)
                    found += [
                        f"{loaded.backup.table} ({rule.name}): {row}" for row in self._ids(loaded.target, condition)
                    ]
        if found:
            raise BackupStop(
                "Rows to which rows of the backup refer were deleted since, and other rows have their unique values by"
                f" now: {', '.join(found[:_SHOWN])}{' and others' if len(found) > _SHOWN else ''}.",
                meaning="The deleted rows cannot be added again beside them. Nothing was changed.",
                remedy="In Nexus, empty or change these values (psql: \\d shows of which columns), or delete the rows;"
                " then start again.",
            )

    def _references(self, losing: list[Table]) -> Iterator[Reference]:
        """Find references in every table, and in documents and batches, which a reimport leaves to relinking."""
        # Our own tables are not in the catalogue, and nothing refers to them.
        known = [table for table in losing if table in self.catalogue.columns]
        if not known:
            return
        entities = tuple(loaded_entities(read_registry(self.cursor)))
        yield from find_references(self.cursor, Policy(self.catalogue, entities, ()), {}, known)
        patients = self.catalogue.table("patients")
        if patients not in known:
            return
        types = self._content_types(MODELS["patients"])
        for generic in self.catalogue.generic_keys:
            if types and generic.table in {self.catalogue.table(name) for name in (DOCUMENTS, BATCHES)}:
                yield self._generic_reference(generic, patients, types)

    def _content_types(self, model: str = "", *, table: str = "") -> tuple[int, ...]:
        """Return ids of the content types of a model, or of the models that Django stores in a table."""
        self.cursor.execute(
            sql.SQL("SELECT array_agg(id) FROM {} WHERE model = %s OR app_label || '_' || model = %s").format(
                self.catalogue.content_types.identifier
            ),
            (model, table),
        )
        row = self.cursor.fetchone()
        return tuple(row[0] or ()) if row else ()

    def _points_to(self, reference: Reference, rows: sql.Composable) -> sql.Composed:
        condition = sql.SQL("t.{}::text IN (SELECT id::text FROM {})").format(sql.Identifier(reference.column), rows)
        if reference.content_type_column:
            condition += sql.SQL(" AND t.{} = ANY({})").format(
                sql.Identifier(reference.content_type_column), sql.Literal(list(reference.content_types))
            )
        return condition

    def _repoint(self, reference: Reference, condition: sql.Composable) -> None:
        """Re-point references to the backup's row of the same FileMaker record."""
        counterparts = self._counterparts(reference.to)
        if counterparts is None:
            return
        column = sql.Identifier(reference.column)
        self._attempt(
            reference.table,
            _words_of(reference),
            "re-pointed to the row of the backup",
            sql.SQL("UPDATE {} t SET {} = c.new::{} FROM {} c WHERE c.old = t.{}::text AND {}").format(
                reference.table.identifier,
                column,
                sql.SQL(self.catalogue.columns[reference.table][reference.column].type),
                counterparts,
                column,
                condition,
            ),
        )

    def _counterparts(self, table: Table) -> sql.Identifier | None:
        """Return a temporary table that maps deleted rows (`old`) to the backup's rows of the same record (`new`)."""
        crosswalk = self.by_table.get(Table("fm_pipeline", "crosswalk"))
        entity = self._entity_of(table, crosswalk) if crosswalk else ""
        if not entity or crosswalk is None:
            return None
        loaded = self.by_table[table]
        name = sql.Identifier(f"counterpart_of_backup_{loaded.number}")
        self.cursor.execute(
            sql.SQL(
                "CREATE TEMP TABLE IF NOT EXISTS {name} ON COMMIT DROP AS"
                " SELECT DISTINCT ON (g.id) g.id::text AS old, s.id::text AS new FROM {gone} g"
                " JOIN (SELECT nexus_id::text AS id, filemaker_key AS key FROM fm_pipeline.crosswalk WHERE entity ="
                " {entity} UNION SELECT nexus_id::text, filemaker_key FROM fm_pipeline.retired_patient_ids"
                " WHERE {entity} = 'patient' UNION {keys_of_gone}) o ON o.id = g.id::text"
                " JOIN (SELECT 1 AS rank, nexus_id::text AS id, filemaker_key AS key FROM {crosswalk} WHERE entity ="
                " {entity} UNION SELECT 2, k.* FROM ({keys_of_backup}) k) n USING (key)"
                " JOIN {scratch} s ON s.id::text = n.id ORDER BY g.id, n.rank, s.id"
            ).format(
                name=name,
                gone=loaded.gone,
                entity=sql.Literal(entity),
                crosswalk=crosswalk.scratch.identifier,
                scratch=loaded.scratch.identifier,
                keys_of_gone=filemaker_keys(entity, loaded, loaded.gone),
                keys_of_backup=filemaker_keys(entity, loaded, loaded.scratch.identifier),
            )
        )
        return name

    def _entity_of(self, table: Table, crosswalk: LoadedTable) -> str:
        """The entity that a table is loaded from; of one that a profile added, the backup's crosswalk knows it."""
        for entity in LOADED:
            if self.catalogue.table(entity.table) == table:
                return entity.name
        if "id" not in self.by_table[table].backup.names:
            return ""
        self.cursor.execute(
            sql.SQL("SELECT c.entity FROM {} c JOIN {} s ON s.id::text = c.nexus_id::text LIMIT 1").format(
                crosswalk.scratch.identifier, self.by_table[table].scratch.identifier
            )
        )
        row = self.cursor.fetchone()
        return str(row[0]) if row else ""

    def _empty(self, reference: Reference, condition: sql.Composable) -> None:
        """Set a reference to NULL."""
        self._attempt(
            reference.table,
            _words_of(reference),
            "set to NULL",
            sql.SQL("UPDATE {} t SET {} = NULL WHERE {}").format(
                reference.table.identifier, sql.Identifier(reference.column), condition
            ),
        )

    def _attempt(self, table: Table, why: str, done: NewerRowsAction, update: sql.Composable) -> None:
        """Update rows that stay, unless a constraint (unique, CHECK) forbids it."""
        self.cursor.execute("SAVEPOINT attempt")
        try:
            self.cursor.execute(update + sql.SQL(" RETURNING {}").format(self._id_of(table)))
        except psycopg2.IntegrityError:
            self.cursor.execute("ROLLBACK TO SAVEPOINT attempt")
            return
        ids = [row[0] for row in self.cursor.fetchall()]
        self.cursor.execute("RELEASE SAVEPOINT attempt")
        self._note(table, why, done, ids)

    def _set_aside(self, table: Table, why: str, condition: sql.Composable) -> None:
        """Set rows aside, together with rows that depend on them by a reference that must not be NULL."""
        for seen in self.aside.get(table, ()):
            key = self._key(table)
            condition += sql.SQL(" AND ({}) NOT IN (SELECT {} FROM {})").format(
                column_list(key, of="t"), column_list(key), seen
            )
        if not (ids := self._ids(table, condition)):
            return
        rows = sql.Identifier(f"aside_of_backup_{sum(map(len, self.aside.values()))}")
        self.aside.setdefault(table, []).append(rows)
        self.cursor.execute(
            sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT t.* FROM {} t WHERE {}").format(
                rows, table.identifier, condition
            )
        )
        for reference in self._dependent_references(table):
            own = self.by_table.get(reference.table)
            if own is not None and own.backup.role == "replaced":
                continue
            hanging = self._points_to(reference, rows)
            if own is not None:
                hanging += sql.SQL(" AND NOT {}").format(own.in_backup())
            if reference.nullable:
                self._empty(reference, hanging)
            self._set_aside(reference.table, _words_of(reference), hanging)
        self._note(table, why, "set aside", ids)
        if self.state.newer == "set-aside":
            self._move(table, rows)

    def _dependent_references(self, table: Table) -> Iterator[Reference]:
        columns = self.catalogue.columns
        for key in self.catalogue.foreign_keys_to(table):
            if len(key.columns) == 1 and key.referenced_columns == ("id",) and key.table in columns:
                facts = columns[key.table][key.columns[0]]
                nullable = not facts.not_null and not facts.generated
                yield Reference(key.table, key.columns[0], table, key.name, nullable)
        types = self._content_types(table=table.name) if "id" in columns[table] else ()
        for generic in Policy(self.catalogue, (), ()).followed_keys if types else ():
            yield self._generic_reference(generic, table, types)

    def _generic_reference(self, key: GenericKey, to: Table, types: tuple[int, ...]) -> Reference:
        nullable = not self.catalogue.columns[key.table][key.object_id_column].not_null
        return Reference(key.table, key.object_id_column, to, "generic key", nullable, key.content_type_column, types)

    def _move(self, table: Table, rows: sql.Identifier) -> None:
        if missing_privileges(self.cursor, {table: {"DELETE"}}):
            raise BackupStop(
                f"Rows of {table} have to be set aside, and the role may not delete them.",
                meaning="Nothing was changed.",
                remedy=f"As the owner of {table}: GRANT DELETE ON {table.identifier.as_string(self.cursor)} TO the role"
                " of the restore; then start again.",
            )
        self._save(table, rows, sql.SQL("true"))
        own = self.by_table.get(table)
        if own is not None:  # deleted with everything else: a row of the backup may still point to it
            self.cursor.execute(sql.SQL("INSERT INTO {} SELECT * FROM {}").format(own.gone, rows))
            return
        key = self._key(table)
        self.cursor.execute(
            sql.SQL("DELETE FROM {} t USING {} a WHERE ({}) = ({})").format(
                table.identifier, rows, column_list(key, of="t"), column_list(key, of="a")
            )
        )

    def _save(self, table: Table, rows: sql.Identifier, condition: sql.Composable) -> None:
        self.cursor.execute(
            sql.SQL(
                "INSERT INTO {} (table_schema, table_name, row_key, content) SELECT {}, {}, {}, {} FROM {} t WHERE {}"
            ).format(
                SET_ASIDE.identifier,
                sql.Literal(table.schema),
                sql.Literal(table.name),
                self._id_of(table),
                row_as_json(self.cursor, table),
                rows,
                condition,
            )
        )

    def _note(self, table: Table, why: str, done: NewerRowsAction, ids: list[str]) -> None:
        if not ids:
            return
        self.state.newer_rows.append(NewerRows(str(table), why, done, tuple(ids)))
        counted: dict[NewerRowsAction, str] = {
            "re-pointed to the row of the backup": "repointed",
            "set to NULL": "emptied",
            "set aside": "set_aside",
        }
        if done in counted:
            self.state.note(table, **{counted[done]: len(ids)})

    def _key(self, table: Table) -> list[str]:
        return (
            key_columns(self.cursor, table)
            or [name for name in self.catalogue.columns[table] if name == "id"]
            or list(self.catalogue.columns[table])
        )

    def _id_of(self, table: Table) -> sql.Composable:
        key = self._key(table)
        if len(key) == len(self.catalogue.columns[table]) > 1:
            return sql.SQL("'a row without a key'::text")  # its key would be its data
        return sql.SQL("concat_ws('/', {})").format(column_list(key, of="t"))

    def _ids(self, table: Table, condition: sql.Composable) -> list[str]:
        self.cursor.execute(
            sql.SQL("SELECT {} FROM {} t WHERE {} ORDER BY 1").format(self._id_of(table), table.identifier, condition)
        )
        return [row[0] for row in self.cursor.fetchall()]


def _words_of(reference: Reference) -> str:
    return f"{reference.table}.{reference.column} ({reference.constraint})"
