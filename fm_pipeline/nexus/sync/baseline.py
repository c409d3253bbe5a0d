"""The baseline: what FileMaker said of each row, and what Nexus had, when the last reimport or sync was committed.

A sync compares with it to tell an edit in Nexus from a change in FileMaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import comma
from fm_pipeline.nexus.reimport.difference import Difference
from fm_pipeline.nexus.sync.decisions import decided_values, gone_rows, left_out_rows
from fm_pipeline.nexus.sync.values import as_object, desired, in_nexus, literal, merged_columns


def has_baseline(cursor: Cursor) -> bool:
    """Return whether a baseline was ever written."""
    cursor.execute("SELECT EXISTS (SELECT FROM fm_pipeline.synced_rows)")
    return cursor.fetchone() == (True,)


# Columns in which both differ, although nobody knows who changed them: the baseline had no value, and it is still as
# it was then.
_UNKNOWN = """
SELECT n FROM unnest(v.differing) n WHERE b.nexus_id IS NULL OR NOT b.nexus ? n
OR (b.unknown @> ARRAY[n] AND v.nexus ->> n IS NOT DISTINCT FROM b.nexus ->> n)
"""
# What is known of a column stays while FileMaker does not feed it, because its field was taken off the layout. Else an
# edit of a user would be forgotten, and the next reimport after the field is back would overwrite it.
_WRITE = """
INSERT INTO fm_pipeline.synced_rows (entity, nexus_id, filemaker_key, filemaker, nexus, kept, unknown, state)
SELECT %(entity)s, t.id, s.filemaker_key,
       coalesce(u.filemaker, '{{}}') || v.filemaker, coalesce(u.nexus, '{{}}') || v.nexus,
       CASE WHEN v.differing = '{{}}' THEN '{{}}' ELSE ARRAY(SELECT unnest(v.differing) EXCEPT ({unknown})) END
       || CASE WHEN u.kept <> '{{}}' THEN ARRAY(SELECT unnest(u.kept) EXCEPT SELECT unnest(%(names)s::text[]))
               ELSE '{{}}' END,
       CASE WHEN v.differing = '{{}}' THEN '{{}}' ELSE ARRAY({unknown}) END
       || CASE WHEN u.unknown <> '{{}}' THEN ARRAY(SELECT unnest(u.unknown) EXCEPT SELECT unnest(%(names)s::text[]))
               ELSE '{{}}' END, {state}
FROM {staged} s JOIN {table} t ON t.id = s.nexus_id
LEFT JOIN fm_pipeline.synced_rows k ON k.entity = %(entity)s AND k.nexus_id = t.id
-- Read again for the few rows that have changed: the objects of all of them would go through the join.
LEFT JOIN LATERAL (SELECT * FROM fm_pipeline.synced_rows
                   WHERE entity = %(entity)s AND nexus_id = t.id OFFSET 0) b ON true
LEFT JOIN LATERAL (SELECT b.filemaker, b.nexus, b.kept, b.unknown WHERE b.filemaker_key = s.filemaker_key) u ON true
-- Objects are made of the few rows only that have changed; to make them of all took most of the time.
CROSS JOIN LATERAL (SELECT {filemaker} AS filemaker, {nexus} AS nexus,
                           array_remove(ARRAY[{differing}]::text[], NULL) AS differing OFFSET 0) v
WHERE k.nexus_id IS NULL OR k.gone OR k.filemaker_key <> s.filemaker_key OR k.state IS DISTINCT FROM {state}
ON CONFLICT (entity, nexus_id) DO UPDATE SET filemaker_key = excluded.filemaker_key,
    filemaker = excluded.filemaker, nexus = excluded.nexus, kept = excluded.kept, unknown = excluded.unknown,
    state = excluded.state, gone = false
"""
# The few rows that Nexus does not have come first, or PostgreSQL looks each row of the baseline up in what is staged.
_FORGET = """
WITH gone AS MATERIALIZED (
    SELECT b.nexus_id FROM fm_pipeline.synced_rows b
    WHERE b.entity = %(entity)s AND NOT EXISTS (SELECT FROM {table} t WHERE t.id = b.nexus_id)
)
DELETE FROM fm_pipeline.synced_rows b USING gone g WHERE b.entity = %(entity)s AND b.nexus_id = g.nexus_id
AND (%(reimported)s OR (NOT EXISTS (SELECT FROM {staged} s WHERE s.nexus_id = g.nexus_id)
     AND NOT EXISTS (SELECT FROM fm_pipeline.source_records r
                     WHERE r.entity = b.entity AND r.filemaker_key = b.filemaker_key)))
"""


def write_baseline(
    cursor: Cursor, differences: Sequence[Difference], now: datetime, *, reimported: bool = False
) -> None:
    """Store the states of all rows that are staged and in Nexus; after the load, in its transaction.

    After a sync, the state of a row that a user deleted in Nexus stays, so that it is not inserted again, also while a
    rule holds its record back. The state of a row that neither side has is removed.

    Args:
        differences: between what is staged (not the merged rows) and Nexus.
        reimported: after a reimport. A row that Nexus does not have was deleted by it, or was inserted again.
    """
    for difference in differences:
        names = merged_columns(difference)
        differing = [
            sql.SQL("CASE WHEN {} THEN {} END").format(difference.differs([name]), literal(name)) for name in names
        ]
        texts = [
            sql.SQL('{} COLLATE "C"').format(text)
            for name in names
            for text in (desired(difference, name), in_nexus(name))
        ]
        parameters = {"entity": difference.entity.name, "now": now, "reimported": reimported, "names": names}
        cursor.execute(
            sql.SQL(_WRITE).format(
                unknown=sql.SQL(_UNKNOWN),
                filemaker=as_object({name: desired(difference, name) for name in names}),
                nexus=as_object({name: in_nexus(name) for name in names}),
                differing=comma(differing),
                state=sql.SQL("hash_record_extended(ROW({}), 0)").format(comma(texts)),
                staged=difference.staged,
                table=difference.table.identifier,
            ),
            parameters,
        )
        cursor.execute(sql.SQL(_FORGET).format(staged=difference.staged, table=difference.table.identifier), parameters)


def forget_deleted(cursor: Cursor, differences: Sequence[Difference]) -> None:
    """Forget the states of rows that Nexus does not have; before a reimport loads, which inserts them again.

    Such a row has nothing of what users edited in it before. A state that stays would make an edit of a column that
    FileMaker does not feed now.
    """
    for difference in differences:
        cursor.execute(
            sql.SQL(_FORGET).format(staged=difference.staged, table=difference.table.identifier),
            {"entity": difference.entity.name, "reimported": True},
        )


_BEHIND = """
SELECT EXISTS (
    SELECT FROM {columns} c LEFT JOIN fm_pipeline.synced_rows b ON b.entity = %(entity)s AND b.nexus_id = c.nexus_id
    WHERE b.nexus_id IS NULL
       OR NOT CASE WHEN c.decision = 'edit_without_baseline' THEN b.unknown ELSE b.kept END @> ARRAY[c.name]
) OR EXISTS (
    SELECT FROM fm_pipeline.synced_rows b CROSS JOIN LATERAL unnest(b.kept || b.unknown) k(name)
    JOIN {staged} s ON s.nexus_id = b.nexus_id JOIN {table} t ON t.id = b.nexus_id
    WHERE b.entity = %(entity)s AND b.kept || b.unknown <> '{{}}' AND k.name = ANY(%(names)s) AND NOT EXISTS
        (SELECT FROM {columns} c WHERE c.nexus_id = b.nexus_id AND c.name = k.name))
"""


def is_behind(cursor: Cursor, difference: Difference) -> bool:
    """Return whether the baseline has to be written although no row of Nexus changes.

    It must know a value that users have edited since, or the next reimport would replace it. It must also know that a
    value which an earlier sync has kept is FileMaker's again, or the next change in FileMaker would be a conflict.

    Args:
        difference: merged; the temporary table of its columns is there, and all of its values are kept.
    """
    cursor.execute(
        sql.SQL(_BEHIND).format(
            staged=difference.staged,
            table=difference.table.identifier,
            columns=decided_values(difference),
        ),
        {"entity": difference.entity.name, "names": merged_columns(difference)},
    )
    return cursor.fetchone() == (True,)


def acknowledge(cursor: Cursor, differences: Sequence[Difference], now: datetime) -> None:
    """Note that a person has seen the rows that only one side has, so that the next sync does not wait for them again.

    Args:
        differences: between what is staged and Nexus; the temporary tables of their merge are there.
    """
    for difference in differences:
        parameters = {"entity": difference.entity.name, "now": now}
        states = as_object({name: desired(difference, name) for name in merged_columns(difference)})
        cursor.execute(
            sql.SQL(
                "INSERT INTO fm_pipeline.synced_rows (entity, nexus_id, filemaker_key, filemaker, nexus, state)"
                " SELECT %(entity)s, s.nexus_id, s.filemaker_key, {states}, {states}, 0"
                " FROM {staged} s JOIN {out} o USING (nexus_id) LEFT JOIN {table} t ON t.id = s.nexus_id"
                # What is known of a column stays while FileMaker does not feed it; see `_WRITE`.
                " ON CONFLICT (entity, nexus_id) DO UPDATE SET filemaker = synced_rows.filemaker || excluded.filemaker,"
                " nexus = synced_rows.nexus || excluded.nexus,"
                " kept = '{{}}', unknown = '{{}}', state = 0, gone = false"
            ).format(
                states=states,
                staged=difference.staged,
                out=left_out_rows(difference),
                table=difference.table.identifier,
            ),
            parameters,
        )
        cursor.execute(
            sql.SQL(
                "UPDATE fm_pipeline.synced_rows b SET gone = true FROM {rows} r"
                " WHERE b.entity = %(entity)s AND b.nexus_id = r.id"
                " AND r.decision IN ('gone_edited', 'gone_referenced')"
            ).format(rows=gone_rows(difference)),
            parameters,
        )
