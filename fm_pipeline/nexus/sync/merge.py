"""Merge what is staged with what users did in Nexus, and put a view in place of each staged table.

Three states decide about a column: what FileMaker says now, what Nexus has now, and the baseline (what both had after
the last commit).

- FileMaker and Nexus agree: nothing to do.
- Nexus has what it had, and that was FileMaker's value: FileMaker's new value is taken.
- Otherwise a user has edited the value in Nexus. If FileMaker still says the same, it is an edit; if not, a conflict.
  The policy of the column decides which value stays.
- Start and end of an appointment are one value: if one was edited, FileMaker's change of the other is a conflict.

A value without a baseline counts as an edit. A row goes only if its record was in FileMaker at the last commit and is
not there now, nobody has edited the row since, and no row refers to it after the sync.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import comma
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.reimport.difference import Difference, column_of
from fm_pipeline.nexus.sync.decisions import Decision, decided_values, left_out_rows, read_decisions
from fm_pipeline.nexus.sync.gone_rows import find_gone_rows
from fm_pipeline.nexus.sync.values import desired, in_nexus, literal, merged_columns
from fm_pipeline.nexus.table_policy import Policy

ColumnPolicies = Mapping[str, Mapping[str, str]]
"""By entity and column of Nexus: `nexus`, `filemaker` or `newer`; a column that is not named is `nexus`."""

# A parent that a user deleted in Nexus cannot be referred to; such a change waits.
_DECISIONS = """
CREATE TEMP TABLE {columns} ON COMMIT DROP AS
SELECT d.*, d.without_parent OR (d.decision <> 'change' AND NOT %(filemaker)s::text[] @> ARRAY[d.name]
       AND NOT (d.decision = 'conflict' AND %(newer)s::text[] @> ARRAY[d.name] AND d.is_newer)) AS kept
FROM (SELECT t.id AS nexus_id, s.filemaker_key, c.name, c.now, c.without_parent,
             coalesce({modified} > {updated_at}, false) AS is_newer,
             CASE WHEN c.without_parent AND c.desired IS DISTINCT FROM b.filemaker ->> c.name THEN 'parent_deleted'
                  WHEN c.without_parent THEN 'edit'
                  WHEN b.nexus_id IS NULL OR NOT b.nexus ? c.name OR (b.unknown @> ARRAY[c.name]
                       AND c.now IS NOT DISTINCT FROM b.nexus ->> c.name) THEN 'edit_without_baseline'
                  WHEN c.now IS NOT DISTINCT FROM b.nexus ->> c.name AND NOT b.kept @> ARRAY[c.name] THEN 'change'
                  WHEN c.desired IS NOT DISTINCT FROM b.filemaker ->> c.name THEN 'edit'
                  ELSE 'conflict' END AS decision
      FROM {staged} s JOIN {table} t ON t.id = s.nexus_id
      -- OFFSET 0: for the few rows that differ. PostgreSQL expects many, and would read all of both tables.
      LEFT JOIN LATERAL (SELECT * FROM fm_pipeline.synced_rows
                         WHERE entity = %(entity)s AND nexus_id = t.id OFFSET 0) b ON true
      LEFT JOIN LATERAL (SELECT modified FROM fm_pipeline.source_records
                         WHERE entity = %(entity)s AND record_id = s.record_id OFFSET 0) r ON true
      CROSS JOIN LATERAL (VALUES {values}) c(name, now, desired, differs, without_parent)
      WHERE {row_differs} AND c.differs) d
"""
# Columns that are decided together: the start of one side and the end of the other make no appointment.
_TOGETHER = {"appointment": ("start_time", "end_time")}
_DECIDE_TOGETHER = """
UPDATE {columns} c SET decision = 'conflict', kept = true
WHERE c.decision = 'change' AND c.name = ANY(%(together)s)
      AND NOT %(filemaker)s::text[] || %(newer)s::text[] @> ARRAY[c.name]
      AND EXISTS (SELECT FROM {columns} o WHERE o.nexus_id = c.nexus_id AND o.name = ANY(%(together)s) AND o.kept)
"""
# FileMaker's wall-clock time; of an older server, which writes another form, it cannot be told.
_MODIFIED = r"""
CASE WHEN r.modified ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d'
     THEN left(r.modified, 19)::timestamp AT TIME ZONE %(zone)s END
"""
_OUT = """
CREATE TEMP TABLE {out} ON COMMIT DROP AS
SELECT s.nexus_id, s.filemaker_key,
       CASE WHEN b.nexus_id IS NULL THEN 'parent_deleted'
            WHEN EXISTS (SELECT FROM (VALUES {values}) c(name, desired)
                         WHERE c.desired IS DISTINCT FROM b.filemaker ->> c.name) THEN 'deleted_conflict'
            ELSE 'deleted_in_nexus' END AS decision
FROM {staged} s LEFT JOIN {table} t ON t.id = s.nexus_id
     LEFT JOIN fm_pipeline.synced_rows b ON b.entity = %(entity)s AND b.nexus_id = s.nexus_id
WHERE t.id IS NULL AND (b.nexus_id IS NOT NULL OR {without_parent})
"""


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Attributes:
        differences: between the merged rows and Nexus.
        decisions: what was kept, overwritten or left out, by id and column.
    """

    differences: list[Difference]
    decisions: list[Decision]


def merge(
    cursor: Cursor,
    policy: Policy,
    differences: Sequence[Difference],
    *,
    now: datetime,
    policies: ColumnPolicies,
    time_zone: str,
) -> Merged:
    """Merge all entities, inside the transaction and under its locks, so that no save is overlooked.

    Args:
        time_zone: in which FileMaker's timestamps are written.
        differences: between what is staged and Nexus, parents before children.
    """
    out: dict[Table, sql.Identifier] = {}
    merged = []
    for difference in differences:
        wins = policies.get(difference.entity.name, {})
        names = merged_columns(difference)
        orphaned = {name: _without_parent(policy, difference, name, out) for name in names}
        parameters: dict[str, object] = {"entity": difference.entity.name, "now": now, "zone": time_zone}
        parameters |= {
            side: [name for name, winner in wins.items() if winner == side] for side in ("filemaker", "newer")
        }
        places = {
            "columns": decided_values(difference),
            "out": left_out_rows(difference),
            "staged": difference.staged,
            "table": difference.table.identifier,
        }
        compared = [
            sql.SQL("({}, {}, {}, {}, {})").format(
                literal(name), in_nexus(name), desired(difference, name), difference.differs([name]), orphaned[name]
            )
            for name in names
        ]
        cursor.execute(
            sql.SQL(_DECISIONS).format(
                **places,
                values=comma(compared),
                row_differs=difference.differs(names),
                modified=sql.SQL(_MODIFIED),
                updated_at=sql.SQL("t.updated_at" if "updated_at" in difference.inserts else "NULL::timestamptz"),
            ),
            parameters,
        )
        if together := _TOGETHER.get(difference.entity.name):
            parameters["together"] = list(together)
            cursor.execute(sql.SQL(_DECIDE_TOGETHER).format(columns=places["columns"]), parameters)
        desires = comma(sql.SQL("({}, {})").format(literal(name), desired(difference, name)) for name in names)
        without_parent = sql.SQL(" OR ").join(orphaned.values())
        cursor.execute(sql.SQL(_OUT).format(**places, values=desires, without_parent=without_parent), parameters)
        out[difference.table] = places["out"]
        merged.append(_with_view(cursor, difference, names))
    kept_rows = find_gone_rows(cursor, policy, differences, merged)
    return Merged(
        [replace(each, kept=[*each.kept, *kept_rows[each.table]]) for each in merged],
        read_decisions(cursor, differences),
    )


# A value that a sync has kept is one of the baseline's; what a user edited since is kept with it.
_KEPT_BEFORE = """
CREATE TEMP TABLE {columns} ON COMMIT DROP AS
SELECT t.id AS nexus_id, s.filemaker_key, c.name, c.now, 'edit' AS decision, true AS kept
FROM {staged} s JOIN {table} t ON t.id = s.nexus_id
JOIN fm_pipeline.synced_rows b ON b.entity = %(entity)s AND b.nexus_id = t.id AND b.kept <> '{{}}'
CROSS JOIN LATERAL (VALUES {values}) c(name, now, differs, parent_goes)
WHERE c.differs AND b.kept @> ARRAY[c.name] AND NOT c.parent_goes;
CREATE TEMP TABLE {out} (nexus_id uuid) ON COMMIT DROP
"""


def keep_edits(cursor: Cursor, policy: Policy, differences: Sequence[Difference], *, now: datetime) -> Merged:
    """Do the same for a reimport: keep only the values that a sync has kept. Rows go and come as without it.

    A reference to a row that the reimport deletes cannot be kept.
    """
    merged = []
    for difference in differences:
        names = merged_columns(difference)
        compared = [
            sql.SQL("({}, {}, {}, {})").format(
                *(literal(name), in_nexus(name), difference.differs([name])),
                _parent_goes(policy, difference, name, differences),
            )
            for name in names
        ]
        cursor.execute(
            sql.SQL(_KEPT_BEFORE).format(
                columns=decided_values(difference),
                out=left_out_rows(difference),
                staged=difference.staged,
                table=difference.table.identifier,
                values=comma(compared),
            ),
            {"entity": difference.entity.name, "now": now},
        )
        merged.append(_with_view(cursor, difference, names))
    return Merged(merged, read_decisions(cursor, differences, rows=False))


def _without_parent(
    policy: Policy, difference: Difference, name: str, out: Mapping[Table, sql.Identifier]
) -> sql.Composable:
    """Condition: the staged row refers by this column to a row that a user has deleted in Nexus."""
    conditions: list[sql.Composable] = [
        sql.SQL("({})::text IN (SELECT o.nexus_id::text FROM {} o)").format(
            difference.updates[name], out[key.references]
        )
        for key in policy.catalogue.foreign_keys
        if key.table == difference.table and key.columns == (name,) and key.references in out
    ]
    return sql.SQL("({})").format(sql.SQL(" OR ").join([sql.SQL("false"), *conditions]))


def _parent_goes(
    policy: Policy, difference: Difference, name: str, differences: Sequence[Difference]
) -> sql.Composable:
    """Condition: the row of Nexus refers by this column to a row that a reimport deletes."""
    by_table = {each.table: each for each in differences}
    conditions: list[sql.Composable] = [
        sql.SQL(
            "EXISTS (SELECT FROM {parents} p WHERE p.id = t.{column} AND p.id::text <> ALL({kept}::text[])"
            " AND NOT EXISTS (SELECT FROM {staged} o WHERE o.nexus_id = p.id))"
        ).format(
            parents=key.references.identifier,
            column=column_of(name),
            kept=sql.Literal(list(by_table[key.references].kept)),
            staged=by_table[key.references].staged,
        )
        for key in policy.catalogue.foreign_keys
        if key.table == difference.table and key.columns == (name,) and key.references in by_table
    ]
    return sql.SQL("({})").format(sql.SQL(" OR ").join([sql.SQL("false"), *conditions]))


def _with_view(cursor: Cursor, difference: Difference, names: Sequence[str]) -> Difference:
    """Make the view of the staged rows that are not left out, each with the names of the columns that Nexus keeps.

    Without such rows and columns, the staged rows are the merged ones. The view takes half as long again to read.

    A kept value is Nexus' own. It never takes the way over the type of the staged column, which may hold less: a date
    of FileMaker may be a time in Nexus.
    """
    view = f"merged_{difference.entity.staged_table}"
    kept = sql.Identifier(f"sync_kept_{difference.entity.name}")
    cursor.execute(
        sql.SQL(
            "CREATE TEMP TABLE {kept} ON COMMIT DROP AS SELECT nexus_id, array_agg(name) AS kept_columns"
            " FROM {columns} WHERE kept GROUP BY 1"
        ).format(kept=kept, columns=decided_values(difference))
    )
    some_kept = cursor.rowcount > 0
    cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(left_out_rows(difference)))
    if not some_kept and cursor.fetchone() == (False,):
        return difference
    cursor.execute(
        sql.SQL(
            "CREATE TEMP VIEW {view} AS SELECT s.*, k.kept_columns FROM {staged} s LEFT JOIN {kept} k USING (nexus_id)"
            " WHERE NOT EXISTS (SELECT FROM {out} o WHERE o.nexus_id = s.nexus_id)"
        ).format(view=sql.Identifier(view), staged=difference.staged, kept=kept, out=left_out_rows(difference))
    )
    merged = {
        name: sql.SQL("CASE WHEN s.kept_columns @> ARRAY[{}] THEN t.{} ELSE {} END").format(
            literal(name), column_of(name), difference.updates[name]
        )
        for name in names
    }
    return replace(difference, merged=view, updates={**difference.updates, **merged})
