"""The gate before the one transaction: what is staged is whole, current, and breaks no rule that stops."""

from __future__ import annotations

from collections.abc import Collection

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.errors import StagingStop
from fm_pipeline.nexus.policy import REQUIRED_ENTITIES
from fm_pipeline.nexus.report import SourceEnds
from fm_pipeline.staging.entities import CONTACT_DETAIL, ENTITIES
from fm_pipeline.staging.origin import read_extractions, stale_builds
from fm_pipeline.staging.rules import Rule, load_rules
from fm_pipeline.staging.summary import summary

# What stops, by entity and rule, with the number of its rows and the first five of them. A row that another rule
# keeps out anyway (an entry of the calendar without a patient, say) need not be put in order first.
_STOPS = """
SELECT entity, rule, count(*), (array_agg(record_id ORDER BY record_id))[1:5],
       (SELECT source_rows FROM fm_pipeline.staged_builds b WHERE b.entity = f.entity)
FROM (SELECT DISTINCT f.entity, f.rule, f.record_id FROM fm_pipeline.staged_findings f
      JOIN fm_pipeline.staged_outcomes o USING (entity, record_id)
      WHERE f.action = 'stop' AND f.entity = ANY(%s)
        AND (o.outcome <> 'quarantined' OR f.rule = o.rule OR EXISTS (
            SELECT 1 FROM fm_pipeline.staged_findings g
            WHERE g.entity = o.entity AND g.record_id = o.record_id AND g.rule = o.rule AND g.action = 'stop'))) f
GROUP BY entity, rule ORDER BY entity, rule
"""


def check_staging(connection: Connection, entities: Collection[str] | None = None) -> None:
    """Refuse staged rows that must not be loaded. Writes nothing and ends no transaction.

    Args:
        entities: those that are to be loaded; None for all that were extracted, and those that a reimport needs.

    Raises:
        StagingStop: lists everything at once: entities that are not staged or not from the newest extraction, and
            each rule that stops with its sentence, the number of rows, some record ids, and what to do.
    """
    with connection.cursor() as cursor:
        extractions = read_extractions(cursor)
        checked = set(entities) if entities is not None else {*ENTITIES} & {*extractions} | {*REQUIRED_ENTITIES}
        if "patient" in checked and CONTACT_DETAIL in extractions:
            checked.add(CONTACT_DETAIL)
        faults = [f"{fault}: stage it again" for fault in stale_builds(cursor, sorted(checked), extractions)]
        faults += _stops(cursor, checked)
    if faults:
        raise StagingStop(
            "The staged rows cannot be loaded:\n" + "\n".join(f"- {fault}" for fault in faults) + "\n",
            meaning="Nexus is unchanged.",
            remedy="Settle each point, extract and stage again. RULES_FILE can change what some rules do.",
        )


def _stops(cursor: Cursor, entities: Collection[str]) -> list[str]:
    rules = load_rules()
    cursor.execute(_STOPS, (sorted(entities),))
    return [
        f"{rule} ({entity}, {rows:,} of {source_rows:,} rows): {rules[rule].means}{_why(rules[rule])}"
        f" {rules[rule].remedy} Records: {', '.join(map(str, record_ids))}{', …' if rows > len(record_ids) else ''}"
        for entity, rule, rows, record_ids, source_rows in cursor
    ]


def _why(rule: Rule) -> str:
    """Why a rule stops that usually does not."""
    if rule.action == "stop":
        return ""
    return " That many are hardly single records (or RULES_FILE makes it a stop): check the mapped field first."


def staged_columns(cursor: Cursor) -> dict[str, list[str]]:
    """The Nexus columns that each staged entity feeds."""
    cursor.execute("SELECT entity, fed_columns FROM fm_pipeline.staged_builds ORDER BY entity")
    return dict(cursor.fetchall())


def source_ends(connection: Connection) -> list[SourceEnds]:
    """The summaries as the report of a reimport has them: what was ready is loaded then."""
    return [
        SourceEnds(s.entity, s.source_rows, s.ready, s.quarantined, s.skipped, s.by_rule) for s in summary(connection)
    ]
