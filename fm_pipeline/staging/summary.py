"""How the source rows of each entity ended: ready, quarantined or skipped, and by which rule."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor


@dataclass(frozen=True)
class EntitySummary:
    """One entity; source_rows = ready + quarantined + skipped.

    Attributes:
        by_rule: rows that are kept out, by the rule that decided.
        flagged: rows that are loaded and that a rule noticed, by rule; a row may be in several.
    """

    entity: str
    source_rows: int
    ready: int
    quarantined: int
    skipped: int
    by_rule: Mapping[str, int] = field(default_factory=dict)
    flagged: Mapping[str, int] = field(default_factory=dict)


def summary(connection: Connection) -> list[EntitySummary]:
    """The summaries of all entities that are staged, by name. Writes nothing and ends no transaction."""
    with connection.cursor() as cursor:
        return summaries(cursor)


def summaries(cursor: Cursor, entities: Collection[str] | None = None) -> list[EntitySummary]:
    """The summaries of some entities, or of all that are staged."""
    by_rule: dict[str, dict[str, int]] = {}
    flagged: dict[str, dict[str, int]] = {}
    names = {"entities": None if entities is None else sorted(entities)}
    cursor.execute(
        "SELECT entity, rule, count(*) FROM fm_pipeline.staged_outcomes WHERE outcome <> 'ready'"
        " AND (%(entities)s::text[] IS NULL OR entity = ANY(%(entities)s::text[]))"
        " GROUP BY entity, rule ORDER BY entity, rule",
        names,
    )
    for entity, rule, rows in cursor:
        by_rule.setdefault(entity, {})[rule] = rows
    cursor.execute(
        "SELECT f.entity, f.rule, count(DISTINCT f.record_id) FROM fm_pipeline.staged_findings f"
        " JOIN fm_pipeline.staged_outcomes o USING (entity, record_id) WHERE o.outcome = 'ready'"
        " AND (%(entities)s::text[] IS NULL OR f.entity = ANY(%(entities)s::text[]))"
        " GROUP BY f.entity, f.rule ORDER BY f.entity, f.rule",
        names,
    )
    for entity, rule, rows in cursor:
        flagged.setdefault(entity, {})[rule] = rows
    cursor.execute(
        "SELECT entity, source_rows, ready, quarantined, skipped FROM fm_pipeline.staged_builds"
        " WHERE %(entities)s::text[] IS NULL OR entity = ANY(%(entities)s::text[]) ORDER BY entity",
        names,
    )
    return [
        EntitySummary(entity, rows, ready, quarantined, skipped, by_rule.get(entity, {}), flagged.get(entity, {}))
        for entity, rows, ready, quarantined, skipped in cursor
    ]
