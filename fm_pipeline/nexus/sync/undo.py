"""Undo a sync: write the rows that it changed as they were before it, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import JSON_NULLS, column_list, row_as_json, row_of_json
from fm_pipeline.db.table import Table
from fm_pipeline.errors import RequestError, ValidationStop
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.catalogue.table_details import identity_always_columns
from fm_pipeline.nexus.sync.gone_rows import references_to
from fm_pipeline.nexus.table_policy import Policy
from fm_pipeline.nexus.undoing_restores import Restore, read_restores
from fm_pipeline.pluralize import counted

IDS_SHOWN = 5
# A row that somebody has saved since is not what the sync has left. An earlier version wrote some types in another form
# of JSON: what differs is read back, and compared in the form of today. If it did not tell JSON's null from NULL, this
# does not count.
_CHANGED_SINCE = """
SELECT c.row_id FROM fm_pipeline.sync_changes c LEFT JOIN {table} t ON t.id::text = c.row_id
WHERE c.sync_id = {sync} AND c.schema_name = {schema} AND c.table_name = {name}
  AND CASE WHEN {row}::text IS NOT DISTINCT FROM {state}::text THEN false
    WHEN {state} -> {nulls} IS NULL
    THEN {row_without_nulls}::text IS DISTINCT FROM (SELECT {row_without_nulls}::text FROM {stored_row} t)
    ELSE {row}::text IS DISTINCT FROM (SELECT {row}::text FROM {stored_row} t) END ORDER BY 1
"""
# Columns that a migration of Nexus has added since: nobody has saved what they hold. A sync stores all rows of a table
# with the same columns, so one row tells them.
_NEW_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped
EXCEPT SELECT json_object_keys(one.stored) FROM (
  SELECT coalesce(after, before) AS stored FROM fm_pipeline.sync_changes
  WHERE sync_id = %(sync)s AND schema_name = %(schema)s AND table_name = %(name)s LIMIT 1) one
"""
# Columns that it has removed, and that held something. If it has added others, it may have renamed them: then the rows
# cannot be written back as they were.
_GONE_COLUMNS = """
SELECT DISTINCT v.key FROM fm_pipeline.sync_changes c CROSS JOIN LATERAL json_each_text(c.before) v
WHERE c.sync_id = %(sync)s AND c.schema_name = %(schema)s AND c.table_name = %(name)s AND v.value IS NOT NULL
  AND v.key <> ALL(%(columns)s) ORDER BY 1
"""
# A row that somebody has made since, or pointed to a row that the sync has inserted and that would go.
_REFERS = """
SELECT {id} FROM {table} r WHERE {condition} AND {value}::text IN (
  SELECT c.row_id FROM fm_pipeline.sync_changes c
  WHERE c.sync_id = %(sync)s AND c.schema_name = %(schema)s AND c.table_name = %(table)s AND c.before IS NULL)
AND NOT EXISTS (
  SELECT FROM fm_pipeline.sync_changes o WHERE o.sync_id = %(sync)s AND o.schema_name = %(from_schema)s
  AND o.table_name = %(from_table)s AND o.row_id = {id} AND o.after IS NOT NULL)
ORDER BY 1
"""
_STATEMENTS = (
    """
    DELETE FROM {table} t USING fm_pipeline.sync_changes c
    WHERE c.sync_id = {sync} AND c.schema_name = {schema} AND c.table_name = {name}
      AND c.before IS NULL AND t.id::text = c.row_id
    """,
    """
    UPDATE {table} t SET ({updatable}) = ROW({old_values})
    FROM fm_pipeline.sync_changes c, LATERAL {stored_row} r
    WHERE c.sync_id = {sync} AND c.schema_name = {schema} AND c.table_name = {name}
      AND c.before IS NOT NULL AND c.after IS NOT NULL AND t.id::text = c.row_id
    """,
    """
    INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values}
    FROM fm_pipeline.sync_changes c, LATERAL {stored_row} r
    WHERE c.sync_id = {sync} AND c.schema_name = {schema} AND c.table_name = {name} AND c.after IS NULL
    """,
)


def changed_tables(cursor: Cursor, sync_id: str, catalogue: Catalogue) -> list[Table]:
    """Return the tables that a committed sync has changed, which are to be locked.

    Raises:
        RequestError: there is no such sync, it was not committed, it was undone by a person or a restore, a table is
            gone, or a column may be renamed.
    """
    cursor.execute(
        "SELECT committed_at, undone_at FROM fm_pipeline.syncs WHERE id::text = %s",
        (sync_id.strip().lower(),),
    )
    row = cursor.fetchone()
    undone = read_restores(cursor.connection).sync_undone_by(*row) if row and row[0] else None
    if isinstance(undone, Restore):
        raise RequestError("A restore has undone this sync.", code=409, meaning="Nothing was changed.")
    cursor.execute(
        "SELECT DISTINCT schema_name, table_name FROM fm_pipeline.sync_changes WHERE sync_id ="
        " (SELECT id FROM fm_pipeline.syncs WHERE id::text = %s) ORDER BY 1, 2",
        (sync_id.strip().lower(),),
    )
    tables = [Table(*names) for names in cursor.fetchall()]
    # One with conflicts only was committed, and kept all of Nexus.
    if row is None or row[0] is None or undone or not tables:
        why = "This database has no sync of this id." if row is None else "This sync has changed nothing, or is undone."
        raise RequestError(why, code=404 if row is None else 409, meaning="Nothing was changed.")
    if gone := [str(table) for table in tables if table not in catalogue.columns]:
        raise RequestError(f"Nexus has no table {', '.join(gone)} any more.", code=409, meaning="Nothing was changed.")
    for table in tables:
        columns = [*catalogue.columns[table], JSON_NULLS]
        cursor.execute(_GONE_COLUMNS, {**_names(table, sync_id), "columns": columns})
        lost, new = [row[0] for row in cursor.fetchall()], _new_columns(cursor, table, sync_id)
        if lost and new:
            raise RequestError(
                f"{table} has no column {', '.join(lost)} any more, and has got {', '.join(new)} (a migration of the"
                " application?).",
                code=409,
                meaning="If a column was renamed, undoing the sync would lose its values. Nothing was changed.",
                remedy="Correct the rows in Nexus; fm_pipeline.sync_changes holds them as they were before the sync.",
            )
    return tables


def referring_tables(cursor: Cursor, tables: Sequence[Table], policy: Policy) -> list[Table]:
    """Return the other tables whose rows may refer to these, which are to be locked too.

    A row that a user is just adding there is not seen yet, and ON DELETE CASCADE would delete it.
    """
    found = {reference.table for table in tables for reference in references_to(cursor, policy, table)}
    return sorted(found - set(tables))


def rows_saved_since(cursor: Cursor, sync_id: str, tables: Sequence[Table], policy: Policy) -> dict[Table, list[str]]:
    """Return the ids of the rows that users have saved since the sync, by table; they forbid to undo it.

    These are rows that are not as the sync has left them, and rows that refer to what the sync has inserted.

    Args:
        tables: see `changed_tables`.
        policy: of a full reimport.
    """
    parameters = {"sync": sync_id.strip().lower()}
    found = {table: set(_unlike(cursor, table, "after", parameters["sync"])) for table in tables}
    for table in tables:
        for reference in references_to(cursor, policy, table):
            own = {"schema": table.schema, "table": table.name}
            own |= {"from_schema": reference.table.schema, "from_table": reference.table.name}
            has_id = "id" in policy.catalogue.columns[reference.table]
            cursor.execute(
                sql.SQL(_REFERS).format(
                    id=sql.SQL("r.id::text" if has_id else "'without id'"),
                    table=reference.table.identifier,
                    condition=reference.condition,
                    value=reference.value,
                ),
                parameters | own,
            )
            found.setdefault(reference.table, set()).update(row[0] for row in cursor.fetchall())
    return {table: sorted(ids) for table, ids in found.items() if ids}


def undo(cursor: Cursor, sync_id: str, tables: Sequence[Table], policy: Policy) -> Mapping[str, int]:
    """Write the rows back; return how many, by table. The caller has locked all these tables, and commits.

    Raises:
        RequestError: rows were changed since; names some of them.
        ValidationStop: a trigger or rule has kept a row from being written.
    """
    parameters = {"sync": sync_id.strip().lower()}
    for table, ids in rows_saved_since(cursor, sync_id, tables, policy).items():
        raise RequestError(
            f"{counted(len(ids), f'row of {table} was', f'rows of {table} were')} changed after the sync, for example"
            f" {', '.join(ids[:IDS_SHOWN])}.",
            code=409,
            meaning="Undoing the sync would also undo what users saved since. Nothing was changed.",
            remedy="Correct these rows in Nexus, or restore a backup.",
        )
    cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    rows: dict[str, int] = {}
    for table in tables:
        new = _new_columns(cursor, table, parameters["sync"])
        columns = policy.catalogue.columns[table].items()
        names = [name for name, column in columns if not column.generated and name not in new]
        fixed = identity_always_columns(cursor, table)  # a sync changes none of them
        updatable = [name for name in names if name not in fixed]
        parts = {
            "columns": column_list(names),
            "values": column_list(names, of="r"),
            "updatable": column_list(updatable),
            "old_values": column_list(updatable, of="r"),
            **_places(cursor, table, "before", parameters["sync"]),
        }
        rows[table.name] = 0
        for statement in _STATEMENTS:
            cursor.execute(sql.SQL(statement).format(**parts))
            rows[table.name] += cursor.rowcount
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    if unlike := [str(table) for table in tables if _unlike(cursor, table, "before", parameters["sync"])]:
        raise ValidationStop(
            f"Rows of {', '.join(unlike)} are not as they were before the sync.",
            meaning="A trigger or a rule has changed what was written. The transaction was rolled back.",
            remedy="Disable the trigger for this time, or restore a backup.",
        )
    # The time of the commit: a backup that was made before it, while this waited for locks, still has the sync.
    cursor.execute(
        "UPDATE fm_pipeline.syncs SET undone_at = clock_timestamp() WHERE id::text = %s", (parameters["sync"],)
    )
    return rows


def _unlike(cursor: Cursor, table: Table, state: str, sync_id: str) -> list[str]:
    places = _places(cursor, table, state, sync_id)
    rows = {"row": row_as_json(cursor, table), "row_without_nulls": row_as_json(cursor, table, with_nulls=False)}
    if new := _new_columns(cursor, table, sync_id):
        rows = {name: sql.SQL("(({})::jsonb - {})").format(row, sql.Literal(new)) for name, row in rows.items()}
    cursor.execute(sql.SQL(_CHANGED_SINCE).format(nulls=sql.Literal(JSON_NULLS), **rows, **places))
    return [row[0] for row in cursor.fetchall()]


def _new_columns(cursor: Cursor, table: Table, sync_id: str) -> list[str]:
    cursor.execute(_NEW_COLUMNS, {**_names(table, sync_id), "table": table.identifier.as_string(cursor)})
    return sorted(row[0] for row in cursor.fetchall())


def _names(table: Table, sync_id: str) -> dict[str, str]:
    return {"sync": sync_id.strip().lower(), "schema": table.schema, "name": table.name}


def _places(cursor: Cursor, table: Table, state: str, sync_id: str) -> dict[str, sql.Composable]:
    stored = sql.Identifier("c", state)
    return {
        "table": table.identifier,
        "state": stored,
        "stored_row": row_of_json(cursor, table, stored),
        "sync": sql.Literal(sync_id),
        "schema": sql.Literal(table.schema),
        "name": sql.Literal(table.name),
    }
