"""Build only what has changed since the last build of an entity: the records whose inputs have changed.

The inputs of a record are its content and the rows that it is compared with (the crosswalk, its patient, other
records). The statement that reads them for the build also hashes them in PostgreSQL, and the hash is kept with the
record's outcome. Everything else that a build depends on (rules, names in Nexus, the catalogue, the entity's
definition, the code) makes one fingerprint. If the fingerprint has changed, everything is built. A record with a
finding that depends on the day is always built.

Records are built in units: a patient with the contact details, any other record alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import count
from fm_pipeline.entities.registry import Entity
from fm_pipeline.entities.rules import Rules

FULL_AFTER = timedelta(days=7)
RULES_OF_THE_DAY = ("dob_in_future",)
_CHANGED = sql.Identifier("changed_units")


@dataclass(frozen=True)
class ChangedRecords:
    """Which records a build has to do: all, or those of the units in the temporary table `changed_units`.

    Attributes:
        removed: how many the last build had of these units.
    """

    is_whole: bool
    removed: int = 0

    def condition(self, unit: sql.Composable) -> sql.Composable:
        """Return the condition that a record is to be built, by its unit."""
        return sql.SQL("true") if self.is_whole else sql.SQL("{} IN (SELECT unit FROM {})").format(unit, _CHANGED)


EVERYTHING = ChangedRecords(is_whole=True)


def find_changed(
    cursor: Cursor,
    entity: Entity,
    hashes: Mapping[str, sql.Composable],
    *,
    fingerprint: str,
    rules: Rules,
    now: datetime,
) -> ChangedRecords:
    """Find the units to be built, and remove what the last build left of them.

    Args:
        hashes: by source, a query of `entity`, `record_id`, `unit` and `inputs` of its records.
        fingerprint: of everything else that the build depends on.
        now: the time of the run.
    """
    sources = list(hashes)
    if entity.made or _must_be_whole(cursor, entity, sources, fingerprint, rules, now):
        return EVERYTHING
    cursor.execute(
        sql.SQL(
            """
            CREATE TEMP TABLE changed_units ON COMMIT DROP AS
            SELECT DISTINCT
                   unnest(ARRAY[coalesce(h.unit, b.unit, record_id::text), coalesce(b.unit, h.unit)]) AS unit
            FROM ({hashes}) h
                 FULL JOIN (SELECT entity, record_id, unit, inputs, rule
                            FROM fm_pipeline.staged_outcomes WHERE entity = ANY(%(sources)s)) b
                 USING (entity, record_id)
            WHERE h.inputs IS DISTINCT FROM b.inputs OR h.unit IS DISTINCT FROM b.unit OR b.rule = ANY(%(of_the_day)s)
            UNION
            SELECT coalesce(o.unit, o.record_id::text)
            FROM fm_pipeline.staged_findings f JOIN fm_pipeline.staged_outcomes o USING (entity, record_id)
            WHERE f.entity = ANY(%(sources)s) AND f.rule = ANY(%(of_the_day)s)
            """
        ).format(hashes=sql.SQL(" UNION ALL ").join(hashes.values())),
        {"sources": sources, "of_the_day": list(RULES_OF_THE_DAY)},
    )
    cursor.execute(
        """
        CREATE TEMP TABLE changed_records ON COMMIT DROP AS
        SELECT entity, record_id FROM fm_pipeline.staged_outcomes
        WHERE entity = ANY(%s) AND coalesce(unit, record_id::text) IN (SELECT unit FROM changed_units)
        """,
        (sources,),
    )
    removed = cursor.rowcount
    cursor.execute("ANALYZE changed_units, changed_records")
    staged = sql.Identifier("fm_pipeline", entity.staged_table)
    for table in ("staged_outcomes", "staged_findings"):
        cursor.execute(
            sql.SQL(
                "DELETE FROM {} o USING changed_records c WHERE o.entity = c.entity AND o.record_id = c.record_id"
            ).format(sql.Identifier("fm_pipeline", table))
        )
    of_entity = sql.SQL(" AND s.entity = {}").format(sql.Literal(entity.name)) if entity.files else sql.SQL("")
    cursor.execute(
        sql.SQL("DELETE FROM {} s USING changed_records c WHERE c.entity = {} AND s.record_id = c.record_id").format(
            staged, sql.Literal(entity.name)
        )
        + of_entity
    )
    cursor.execute("DELETE FROM fm_pipeline.staged_builds WHERE entity = ANY(%s)", (sources,))
    return ChangedRecords(is_whole=False, removed=removed)


def has_changed(cursor: Cursor, hashes: Mapping[str, sql.Composable]) -> bool:
    """Return whether the inputs of any record are others than those that it was built from.

    Args:
        hashes: as for `find_changed`.
    """
    cursor.execute(
        sql.SQL(
            """
            SELECT EXISTS (
                SELECT FROM ({}) h
                     FULL JOIN (SELECT entity, record_id, unit, inputs
                                FROM fm_pipeline.staged_outcomes WHERE entity = ANY(%s)) b
                     USING (entity, record_id)
                WHERE h.inputs IS DISTINCT FROM b.inputs OR h.unit IS DISTINCT FROM b.unit)
            """
        ).format(sql.SQL(" UNION ALL ").join(hashes.values())),
        (list(hashes),),
    )
    return cursor.fetchone() == (True,)


def note_whole(cursor: Cursor, entity: str, fingerprint: str, now: datetime) -> None:
    """Store what everything of an entity was built from, beside its records."""
    cursor.execute(
        "INSERT INTO fm_pipeline.built_entities (entity, fingerprint, whole_at) VALUES (%s, %s, %s)"
        " ON CONFLICT (entity) DO UPDATE SET fingerprint = excluded.fingerprint, whole_at = excluded.whole_at",
        (entity, fingerprint, now),
    )


def _must_be_whole(
    cursor: Cursor, entity: Entity, sources: Sequence[str], fingerprint: str, rules: Rules, now: datetime
) -> bool:
    cursor.execute(
        "SELECT EXISTS (SELECT FROM fm_pipeline.built_entities e JOIN fm_pipeline.staged_builds b USING (entity)"
        " WHERE entity = %s AND fingerprint = %s AND whole_at BETWEEN %s AND %s AND built_at <= %s)",
        (entity.name, fingerprint, now - FULL_AFTER, now, now),
    )
    if cursor.fetchone() != (True,):
        return True
    # If too many rows broke a rule, it has become a stop in the findings of all of them.
    cursor.execute(
        "SELECT DISTINCT rule FROM fm_pipeline.staged_findings WHERE entity = ANY(%s) AND action = 'stop'",
        (sources,),
    )
    if any(rule not in rules.by_id or rules[rule].action != "stop" for (rule,) in cursor.fetchall()):
        return True
    if not entity.by_content:
        return False
    # Rows that are identified by content alone are matched all together until the crosswalk has them. They are counted,
    # because PostgreSQL looks up row after row to answer whether there is one, and usually there is none.
    cursor.execute(
        sql.SQL(
            "SELECT count(*) FROM {} s WHERE NOT EXISTS (SELECT FROM fm_pipeline.crosswalk c"
            " WHERE c.entity = %s AND c.filemaker_key = s.filemaker_key)"
        ).format(sql.Identifier("fm_pipeline", entity.staged_table)),
        (entity.name,),
    )
    return count(cursor) > 0
