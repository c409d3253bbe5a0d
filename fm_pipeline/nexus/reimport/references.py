"""References to rows that a reimport deletes: re-pointed to the patient's new row, set to NULL, or a STOP.

The referencing rows are never deleted. Foreign keys come from the catalogue, generic keys from their column names.
Documents and image batches have their own phases. Histories (`table_policy.HISTORIES`) are not changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import count
from fm_pipeline.db.table import Column, Table
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.not_valid_constraints import (
    IDS_SHOWN,
    NotValidConstraint,
    ids_of_violating_rows,
    violated_not_valid_constraint,
)
from fm_pipeline.nexus.catalogue.table_details import key_columns
from fm_pipeline.nexus.reimport.difference import gone
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS
from fm_pipeline.nexus.table_policy import Policy
from fm_pipeline.pluralize import counted


@dataclass(frozen=True)
class Reference:
    """A column of a table whose rows stay, which refers to a table that loses rows."""

    table: Table
    column: str
    to: Table
    constraint: str  # or "generic key"
    nullable: bool
    # Of a generic key: the column and the ids of the content types that mean `to`.
    content_type_column: str | None = None
    content_types: tuple[int, ...] = ()
    generated: bool = False  # it is computed from other columns, and cannot be re-pointed either


@dataclass(frozen=True)
class RepointedReference:
    """What was done about a reference, as numbers of rows."""

    reference: Reference
    repointed: int
    set_to_null: int
    kept: int = 0  # of a reference without a foreign key: rows that still refer to a deleted row


def repoint_references(
    cursor: Cursor, policy: Policy, fed_columns: Mapping[str, Collection[str]], gone_rows: Mapping[Table, int]
) -> list[RepointedReference]:
    """Re-point references to rows that will be deleted, or set them to NULL.

    Args:
        cursor: inside the transaction; the `gone_*` tables are filled.
        fed_columns: by Nexus table, the columns that the load will set anyway.
        gone_rows: how many rows each table loses.

    Raises:
        CatalogueStop: a NOT NULL column refers to a row that will be deleted and that has no new row; or a constraint
            forbids the change.
    """
    cursor.execute(
        "CREATE TEMP TABLE replaced_patients ON COMMIT DROP AS SELECT r.nexus_id AS id, s.nexus_id AS new_id"
        " FROM fm_pipeline.retired_patient_ids r JOIN fm_pipeline.staged_patients s USING (filemaker_key)"
    )
    losing = [table for table, rows in gone_rows.items() if rows]
    changed, stuck = [], []
    for reference in find_references(cursor, policy, fed_columns, losing):
        led = reference.to.name == "patients" and not reference.generated
        if led and reference.column in key_columns(cursor, reference.table):
            _refuse_another_key(cursor, policy, reference)
        with _constraints_explained(cursor, reference):
            repointed = _repoint(cursor, policy, reference) if led else 0
        condition = _of_gone(policy, reference)
        cursor.execute(sql.SQL("SELECT count(*) FROM {} t WHERE {}").format(reference.table.identifier, condition))
        left = count(cursor)
        if left and not reference.nullable:
            stuck.append((left, reference))
            continue
        if left:
            with _constraints_explained(cursor, reference):
                cursor.execute(
                    sql.SQL("UPDATE {} t SET {} = NULL WHERE {}").format(
                        reference.table.identifier, sql.Identifier(reference.column), condition
                    )
                )
        if repointed or left:
            _refuse_what_stayed(cursor, reference, condition)
            _refuse_what_cannot_be_restored(cursor, policy, reference)
            changed.append(RepointedReference(reference, repointed, left))
    if stuck:
        raise _that_may_not_be_empty(stuck)
    return changed


def _that_may_not_be_empty(stuck: Sequence[tuple[int, Reference]]) -> CatalogueStop:
    """Return the STOP for rows that keep a reference to a deleted row; names all of them at once."""
    listed = "; ".join(
        f"{_rows_point(rows, reference)} to rows of {reference.to} that FileMaker no longer has"
        for rows, reference in stuck
    )
    tables = ", ".join(dict.fromkeys(str(reference.table) for _, reference in stuck))
    return CatalogueStop(
        f"{listed}, and the column may not be empty.",
        meaning="They would be lost or left without their owner. Nothing was changed.",
        remedy=f"Decide in Nexus what to do with such rows of {tables}, or bring the records back in FileMaker, then"
        " start again.",
    )


def _rows_point(rows: int, reference: Reference) -> str:
    of = f"of {reference.table}.{reference.column} ({reference.constraint})"
    return counted(rows, f"row {of} points", f"rows {of} point")


def _refuse_what_stayed(cursor: Cursor, reference: Reference, condition: sql.Composable) -> None:
    """Stop if rows still refer to deleted rows although the statement has succeeded."""
    cursor.execute(sql.SQL("SELECT count(*) FROM {} t WHERE {}").format(reference.table.identifier, condition))
    if left := count(cursor):
        raise CatalogueStop(
            f"{_rows_point(left, reference)} to rows of"
            f" {reference.to} that would be deleted, and a trigger or a rule of {reference.table} keeps them so.",
            meaning="They would point to nobody. Nothing was changed.",
            remedy=f"Decide in Nexus what to do with these rows of {reference.table}, then start again.",
        )


def _refuse_what_cannot_be_restored(cursor: Cursor, policy: Policy, reference: Reference) -> None:
    """Stop if no restore could identify the changed row, because its table has no key."""
    if "id" in policy.catalogue.columns[reference.table] or key_columns(cursor, reference.table):
        return
    raise CatalogueStop(
        f"Rows of {reference.table}.{reference.column} ({reference.constraint}) point to rows of {reference.to} that"
        f" would be deleted, and {reference.table} has no primary key.",
        meaning="A restore could not tell which of its rows had been changed. Nothing was changed.",
        remedy=f"Give {reference.table} a primary key, or decide in Nexus what to do with its rows, then start again.",
    )


def _refuse_another_key(cursor: Cursor, policy: Policy, reference: Reference) -> None:
    """Stop if rows would get another primary key by being re-pointed: a restore could not find them by it."""
    table, column = reference.table, policy.catalogue.columns[reference.table][reference.column]
    cursor.execute(
        sql.SQL(
            "SELECT r.id::text, r.new_id::text FROM {} t JOIN replaced_patients r ON r.id = {} WHERE {} ORDER BY 1"
        ).format(
            table.identifier,
            as_uuid(column, sql.SQL("t.{}").format(sql.Identifier(column.name))),
            _of_gone(policy, reference),
        )
    )
    if not (rows := cursor.fetchall()):
        return
    pairs = ", ".join(f"{old} → {new}" for old, new in rows[:IDS_SHOWN])
    more = f" and {len(rows) - IDS_SHOWN:,} more" if len(rows) > IDS_SHOWN else ""
    raise CatalogueStop(
        f"{_rows_point(len(rows), reference)} to rows of {reference.to} that would be deleted because the patient has"
        f" another row, and {reference.column} is part of the primary key of {table}.",
        meaning="Re-pointed to the patient's other row they would have another key, and a restore could not tell which"
        " rows they had been. Nothing was changed.",
        remedy=f"In Nexus, give these rows of {table} the id of the patient's other row ({pairs}{more}), or delete"
        " them. Then start again.",
    )


def _said(error: psycopg2.Error) -> str:
    """Return the name of what has refused the change."""
    if name := error.diag.constraint_name:
        return f"the constraint {name}"
    if column := error.diag.column_name:
        return f"the NOT NULL constraint of {column}"
    return f"the type {error.diag.datatype_name}" if error.diag.datatype_name else "a partition's bound"


@contextmanager
def _constraints_explained(cursor: Cursor, reference: Reference) -> Iterator[None]:
    """Turn an integrity error inside the block into a CatalogueStop that names the constraint."""
    table = reference.table
    what = (
        f"Rows of {table}.{reference.column} point to rows of {reference.to} that would be deleted. They can neither"
        " be re-pointed to the patient's remaining row nor set to NULL:"
    )
    cursor.execute("SAVEPOINT repointing")
    try:
        yield
    except psycopg2.IntegrityError as error:
        cursor.execute("ROLLBACK TO SAVEPOINT repointing")
        if constraint := violated_not_valid_constraint(cursor, table, error):
            raise CatalogueStop(
                f"{what} the NOT VALID constraint {constraint.name} of {table} forbids it"
                f"{_examples(cursor, constraint)}.",
                meaning="The rows broke it before it was made, and PostgreSQL refuses every change of such a row."
                " Nothing was changed.",
                remedy=f"Correct these rows of {table} in Nexus (psql: \\d {table} shows the constraint), then start"
                " again.",
            ) from None
        raise CatalogueStop(
            f"{what} {_said(error)} of {table} forbids it.",
            meaning="A patient who is in Nexus twice may have the same there twice, too. Nothing was changed.",
            remedy=f"Decide in Nexus what to do with these rows of {table}, then start again.",
        ) from None
    cursor.execute("RELEASE SAVEPOINT repointing")


def _examples(cursor: Cursor, constraint: NotValidConstraint) -> str:
    """Return ids of some rows that violate a constraint, in words."""
    ids = ids_of_violating_rows(cursor, constraint)
    return f" (broken by the rows {', '.join(ids)}{' and others' if len(ids) == IDS_SHOWN else ''})" if ids else ""


def find_references(
    cursor: Cursor, policy: Policy, fed_columns: Mapping[str, Collection[str]], losing: Collection[Table]
) -> Iterator[Reference]:
    """Yield every column of rows that stay which refers to a table that loses rows."""
    catalogue = policy.catalogue
    cleared = set(policy.cleared)
    for to in losing:
        for key in catalogue.foreign_keys_to(to):
            column = key.columns[0]
            fed = fed_columns.get(key.table.name, []) if key.table.schema == catalogue.schema else []
            if key.table in cleared or column in fed:
                continue
            facts = catalogue.columns[key.table][column]
            yield Reference(
                key.table, column, to, key.name, not facts.not_null and not facts.generated, generated=facts.generated
            )
    cursor.execute(
        sql.SQL("SELECT model, array_agg(id) FROM {} WHERE model = ANY(%s) GROUP BY model").format(
            catalogue.content_types.identifier
        ),
        (list(policy.models.values()),),
    )
    types = {model: tuple(ids) for model, ids in cursor.fetchall()}
    relinked = {catalogue.table(DOCUMENTS), catalogue.table(BATCHES)}
    for generic in policy.followed_keys:
        for to in losing:
            ids = types.get(policy.models.get(to.name, ""), ())
            if not ids or generic.table in cleared or (generic.table in relinked and to.name == "patients"):
                continue
            yield Reference(
                generic.table,
                generic.object_id_column,
                to,
                "generic key",
                not catalogue.columns[generic.table][generic.object_id_column].not_null,
                generic.content_type_column,
                ids,
            )


def touched_tables(cursor: Cursor, policy: Policy, fed_columns: Mapping[str, Collection[str]]) -> list[Table]:
    """Return every table that a reimport may write, and that it therefore locks, digests and backs up.

    Patients come first, then tables that lose rows, are relinked, or may refer to a deleted row.
    """
    tables = policy.tables_losing_rows + [policy.catalogue.table(name) for name in (DOCUMENTS, BATCHES)]
    references = {
        reference.table for reference in find_references(cursor, policy, fed_columns, policy.tables_losing_rows)
    }
    references |= {soft.table for soft in policy.written_soft}
    return tables + sorted(references - set(tables))


def _of_gone(policy: Policy, reference: Reference) -> sql.Composable:
    """Condition: row `t` stays, and refers to a row that will be deleted."""
    column = policy.catalogue.columns[reference.table][reference.column]
    value = as_uuid(column, sql.SQL("t.{}").format(sql.Identifier(column.name)))
    condition = sql.SQL("{} IN (SELECT id FROM {})").format(value, gone(reference.to))
    if reference.content_type_column:
        condition += sql.SQL(" AND t.{} = ANY({})").format(
            sql.Identifier(reference.content_type_column), sql.Literal(list(reference.content_types))
        )
    if policy.entity_of(reference.table):
        condition += sql.SQL(" AND t.id NOT IN (SELECT id FROM {})").format(gone(reference.table))
    return condition


def _repoint(cursor: Cursor, policy: Policy, reference: Reference) -> int:
    """Re-point references to a patient's earlier id to the patient's present row."""
    column = policy.catalogue.columns[reference.table][reference.column]
    value = sql.SQL("t.{}").format(sql.Identifier(column.name))
    cursor.execute(
        sql.SQL(
            "UPDATE {table} t SET {column} = {new} FROM replaced_patients r WHERE r.id = {id} AND {condition}"
        ).format(
            table=reference.table.identifier,
            column=sql.Identifier(column.name),
            new=in_the_form_of(column, value, sql.SQL("r.new_id")),
            id=as_uuid(column, value),
            condition=_of_gone(policy, reference),
        )
    )
    return cursor.rowcount


_UUID = "^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"


def as_uuid(column: Column, value: sql.Composable) -> sql.Composable:
    """Return an expression for the uuid in a column: its value, or the uuid in its text, else NULL.

    The text may have capital letters, or no dashes. The length is tested first, because it is known without reading
    values that are stored out of line (TOAST).
    """
    if column.type == "uuid":
        return value
    return sql.SQL(
        'CASE WHEN octet_length({v}::text) IN (32, 36) AND {v}::text COLLATE "C" ~* {form} THEN {v}::text::uuid END'
    ).format(v=value, form=sql.Literal(_UUID))


def in_the_form_of(column: Column, value: sql.Composable, new: sql.Composable) -> sql.Composable:
    """Return an expression for a uuid in the spelling of the column's value: capital letters, dashes."""
    if column.type == "uuid":
        return new
    return sql.SQL("CASE WHEN {v}::text COLLATE \"C\" ~ '[A-F]' THEN upper({n}) ELSE {n} END::{type}").format(
        v=value,
        n=sql.SQL("CASE WHEN octet_length({}::text) = 36 THEN {}::text ELSE replace({}::text, '-', '') END").format(
            value, new, new
        ),
        type=sql.SQL(column.type),
    )
