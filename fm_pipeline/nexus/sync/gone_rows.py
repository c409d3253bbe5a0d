"""Rows of Nexus without a staged record: which of them a sync deletes, and why the others stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import comma
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.reimport.difference import Difference
from fm_pipeline.nexus.reimport.references import as_uuid
from fm_pipeline.nexus.sync.decisions import gone_rows
from fm_pipeline.nexus.sync.values import in_nexus, literal, merged_columns
from fm_pipeline.nexus.table_policy import Policy

_ROWS = """
CREATE TEMP TABLE {rows} ON COMMIT DROP AS
SELECT t.id, c.filemaker_key,
       CASE WHEN c.filemaker_key IS NULL THEN 'made_in_nexus'
            WHEN EXISTS (SELECT FROM fm_pipeline.source_records r
                         WHERE r.entity = %(entity)s AND r.filemaker_key = c.filemaker_key) THEN 'not_loaded'
            WHEN b.nexus_id IS NULL THEN 'gone_without_baseline'
            WHEN b.gone THEN 'gone_kept'
            WHEN b.kept <> '{{}}' OR b.unknown <> '{{}}' OR EXISTS (SELECT FROM (VALUES {values}) v(name, now)
                         WHERE b.nexus ? v.name AND v.now IS DISTINCT FROM b.nexus ->> v.name) THEN 'gone_edited'
            ELSE 'gone' END AS decision
FROM {table} t LEFT JOIN fm_pipeline.crosswalk c ON c.entity = %(entity)s AND c.nexus_id = t.id
     LEFT JOIN fm_pipeline.synced_rows b ON b.entity = %(entity)s AND b.nexus_id = t.id
WHERE NOT EXISTS (SELECT FROM {staged} s WHERE s.nexus_id = t.id)
"""


def find_gone_rows(
    cursor: Cursor, policy: Policy, differences: Sequence[Difference], merged: Sequence[Difference]
) -> dict[Table, list[str]]:
    """Fill the tables of `gone_rows`, and return the ids of the rows that stay, by table.

    Args:
        differences: between what is staged and Nexus, parents before children.
        merged: the same between the merged rows and Nexus.
    """
    by_table = {each.table: each for each in merged}
    for difference in differences:
        values = [sql.SQL("({}, {})").format(literal(n), in_nexus(n)) for n in merged_columns(difference)]
        cursor.execute(
            sql.SQL(_ROWS).format(
                rows=gone_rows(difference),
                values=comma(values),
                table=difference.table.identifier,
                staged=difference.staged,
            ),
            {"entity": difference.entity.name},
        )
    for difference in reversed(differences):  # children first: a row that goes does not hold its parent
        _keep_referenced(cursor, policy, difference, by_table)
    kept = {}
    for difference in differences:
        cursor.execute(
            sql.SQL("SELECT id::text FROM {} WHERE decision <> 'gone' ORDER BY 1").format(gone_rows(difference))
        )
        kept[difference.table] = [row[0] for row in cursor.fetchall()]
    return kept


def _keep_referenced(
    cursor: Cursor, policy: Policy, difference: Difference, by_table: Mapping[Table, Difference]
) -> None:
    """Keep the rows that a row that stays refers to; again until nothing changes, because a table may name itself.

    What counts is the reference after the sync: two patients who were made one in FileMaker leave none behind.
    """
    again = True
    while again:
        again = False
        cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE decision = 'gone')").format(gone_rows(difference)))
        if cursor.fetchone() != (True,):
            return
        for reference in references_to(cursor, policy, difference.table):
            cursor.execute(
                sql.SQL(
                    "UPDATE {rows} g SET decision = 'gone_referenced' WHERE g.decision = 'gone'"
                    " AND EXISTS (SELECT FROM {table} r WHERE {value} = g.id AND {condition} AND {stays})"
                ).format(
                    rows=gone_rows(difference),
                    table=reference.table.identifier,
                    value=reference.value,
                    condition=reference.condition,
                    stays=_stays(reference, by_table.get(reference.table)),
                )
            )
            again = again or (cursor.rowcount > 0 and reference.table == difference.table)


def _stays(reference: ReferenceTo, own: Difference | None) -> sql.Composable:
    """Condition: the row `r` is there after the sync, and still refers to what it refers to now."""
    if own is None:
        return sql.SQL("true")
    stays = sql.SQL("NOT EXISTS (SELECT FROM {} o WHERE o.decision = 'gone' AND o.id = r.id)").format(gone_rows(own))
    if reference.column not in own.updates:
        return stays
    return sql.SQL(
        "{} AND NOT EXISTS (SELECT FROM {} s JOIN {} t ON t.id = s.nexus_id WHERE t.id = r.id"
        " AND {} IS DISTINCT FROM {})"
    ).format(stays, own.staged, own.table.identifier, own.updates[reference.column], reference.value)


@dataclass(frozen=True)
class ReferenceTo:
    """A column of a table, whose rows are called `r`, that may refer to rows of another table.

    Attributes:
        value: what it refers to.
        condition: of the rows in which it refers to that table.
    """

    table: Table
    column: str
    value: sql.Composable
    condition: sql.Composable


def references_to(cursor: Cursor, policy: Policy, to: Table) -> Iterator[ReferenceTo]:
    """Yield everything that may refer to rows of a table: foreign keys, and generic keys but those of histories."""
    catalogue = policy.catalogue
    for key in catalogue.foreign_keys_to(to):
        if key.table in catalogue.columns:
            column = catalogue.columns[key.table][key.columns[0]]
            value = as_uuid(column, sql.SQL("r.{}").format(sql.Identifier(column.name)))
            yield ReferenceTo(key.table, column.name, value, sql.SQL("true"))
    cursor.execute(
        sql.SQL("SELECT id FROM {} WHERE model = %s").format(catalogue.content_types.identifier),
        (policy.models.get(to.name, ""),),
    )
    types = [row[0] for row in cursor.fetchall()]
    for generic in policy.followed_keys:
        column = catalogue.columns[generic.table][generic.object_id_column]
        content_type = sql.Identifier(generic.content_type_column)
        yield ReferenceTo(
            generic.table,
            column.name,
            as_uuid(column, sql.SQL("r.{}").format(sql.Identifier(column.name))),
            sql.SQL("(r.{} = ANY({}::int[]) OR r.{} IS NULL)").format(content_type, sql.Literal(types), content_type),
        )
