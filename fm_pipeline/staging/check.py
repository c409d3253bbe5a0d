"""The gate before the one transaction: what is staged is whole, current, and breaks no rule that stops."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.errors import StagingStop
from fm_pipeline.mapping.entities import ENTITIES as SOURCES
from fm_pipeline.nexus.catalogue import read_catalogue
from fm_pipeline.nexus.policy import REQUIRED_ENTITIES
from fm_pipeline.nexus.report import SourceEnds
from fm_pipeline.staging.entities import CONTACT_DETAIL, ENTITIES
from fm_pipeline.staging.origin import read_extractions, stale_builds
from fm_pipeline.staging.rules import Action, Rule, Rules, load_rules
from fm_pipeline.staging.source_size import read_before
from fm_pipeline.staging.summary import summary

# Rows that a rule keeps out which does not stop; they need not be put in order first (an entry of the calendar without
# a patient, say). A record that only a stop of its patient keeps out is not one of them: it comes back with the patient.
_KEPT_OUT = sql.SQL("""
WITH kept_out AS MATERIALIZED (
    SELECT o.entity, o.record_id FROM fm_pipeline.staged_outcomes o
    WHERE o.outcome <> 'ready' AND o.entity = ANY(%(entities)s)
      AND NOT EXISTS (SELECT 1 FROM fm_pipeline.staged_findings g WHERE g.entity = o.entity
                      AND g.record_id = o.record_id AND g.rule = o.rule AND g.action = 'stop')
      AND NOT (o.rule = 'patient_not_loaded'
               AND NOT EXISTS (SELECT 1 FROM fm_pipeline.staged_findings g WHERE g.entity = o.entity
                               AND g.record_id = o.record_id AND g.rule <> o.rule AND g.action = 'quarantine')
               AND EXISTS (
          SELECT 1 FROM fm_pipeline.source_records s
               JOIN fm_pipeline.source_records p ON p.entity = 'patient' AND p.filemaker_key = s.patient_key
               JOIN fm_pipeline.staged_outcomes po ON po.entity = 'patient' AND po.record_id = p.record_id
               JOIN fm_pipeline.staged_findings g ON g.entity = 'patient' AND g.record_id = p.record_id
                    AND g.rule = po.rule AND g.action = 'stop'
          WHERE s.entity = o.entity AND s.record_id = o.record_id)))
""")
# What stops, by entity and rule, with the number of its rows and the first five of them.
_STOPS = _KEPT_OUT + sql.SQL("""
SELECT f.entity, f.rule, count(*), (array_agg(f.record_id ORDER BY f.record_id))[1:5],
       (SELECT source_rows FROM fm_pipeline.staged_builds b WHERE b.entity = f.entity)
FROM (SELECT DISTINCT entity, rule, record_id FROM fm_pipeline.staged_findings
      WHERE action = 'stop' AND entity = ANY(%(entities)s)) f
     LEFT JOIN kept_out k USING (entity, record_id)
WHERE k.entity IS NULL
GROUP BY f.entity, f.rule ORDER BY f.entity, f.rule
""")
# Rows that are loaded, or would be once every stop is settled.
_LOADABLE = _KEPT_OUT + sql.SQL("""
SELECT b.entity, b.source_rows - (SELECT count(*) FROM kept_out k WHERE k.entity = b.entity)
FROM fm_pipeline.staged_builds b WHERE b.entity = ANY(%(entities)s) ORDER BY b.entity
""")


@dataclass(frozen=True)
class Broken:
    """A rule that an entity breaks: rows of it, or the source as a whole.

    Attributes:
        found: how many rows of how many, or what was compared.
        rows: how many rows; 0 when it is about the source as a whole.
        record_ids: some of FileMaker's record ids.
    """

    entity: str
    rule: str
    action: Action
    means: str
    remedy: str
    found: str
    rows: int = 0
    record_ids: tuple[int, ...] = ()

    @property
    def records(self) -> str:
        """The record ids for people."""
        more = ", …" if self.rows > len(self.record_ids) else ""
        return ", ".join(map(str, self.record_ids)) + more

    def __str__(self) -> str:
        lines = [f"- {self.rule} ({self.entity}, {self.found}): {self.means}", f"  {self.remedy}"]
        return "\n".join([*lines, f"  Records: {self.records}"] if self.record_ids else lines)


def check_staging(
    connection: Connection,
    entities: Collection[str] | None = None,
    *,
    rules: Rules | None = None,
    nexus_schema: str = "public",
) -> None:
    """Refuse staged rows that must not be loaded. Writes nothing and ends no transaction.

    Args:
        entities: those that are to be loaded; None for all that were extracted, and those that a reimport needs.
        rules: the clinic's, for what is asked of the source as a whole; None for the defaults. What single rows
            break was decided by the rules that they were staged with.
        nexus_schema: where the rows are that would be replaced.

    Raises:
        StagingStop: lists everything at once: entities that are not staged or not from the newest extraction, and
            each rule that stops with its sentence, the number of rows, some record ids, and what to do.
    """
    with connection.cursor() as cursor:
        extractions = read_extractions(cursor)
        checked = set(entities) if entities is not None else {*ENTITIES} & {*extractions} | {*REQUIRED_ENTITIES}
        if "patient" in checked and CONTACT_DETAIL in extractions:
            checked.add(CONTACT_DETAIL)
        faults = [f"- {fault}: stage it again" for fault in stale_builds(cursor, sorted(checked), extractions)]
        broken = broken_rules(cursor, checked, rules=rules, nexus_schema=nexus_schema)
        faults += [str(each) for each in broken if each.action == "stop"]
    if faults:
        raise StagingStop(
            "The staged rows cannot be loaded:\n" + "\n".join(faults) + "\n",
            meaning="Nexus is unchanged.",
            remedy="Settle each point, extract and stage again. RULES_FILE can change what some rules do.",
        )


def broken_rules(
    cursor: Cursor, entities: Collection[str], *, rules: Rules | None = None, nexus_schema: str = "public"
) -> list[Broken]:
    """What stops of the staged entities, and which of them are smaller than what they replace; see `check_staging`."""
    rules = rules or load_rules()
    names = {"entities": sorted(entities)}
    cursor.execute(_STOPS, names)
    broken = [
        Broken(
            entity,
            rule,
            "stop",
            rules[rule].means,
            _why(rules[rule]) + rules[rule].remedy,
            f"{rows:,} of {source_rows:,} rows",
            rows,
            tuple(record_ids),
        )
        for entity, rule, rows, record_ids, source_rows in cursor
    ]
    before = read_before(cursor, read_catalogue(cursor, nexus_schema), "loaded")
    cursor.execute(_LOADABLE, names)
    for entity, rows in cursor:
        if found := before.broken(rules, entity, rows):
            rule, numbers = found
            broken.append(Broken(entity, rule.id, rule.action, rule.means, rule.remedy, numbers))
    order = list(SOURCES)
    return sorted(broken, key=lambda each: order.index(each.entity))


def _why(rule: Rule) -> str:
    """Why a rule stops that usually does not."""
    if rule.action == "stop":
        return ""
    return "That many are hardly single records (or RULES_FILE makes it a stop): check the mapped field first. "


def staged_columns(cursor: Cursor) -> dict[str, list[str]]:
    """The Nexus columns that each staged entity feeds."""
    cursor.execute("SELECT entity, fed_columns FROM fm_pipeline.staged_builds ORDER BY entity")
    return dict(cursor.fetchall())


def source_ends(connection: Connection) -> list[SourceEnds]:
    """The summaries as the report of a reimport has them: what was ready is loaded then."""
    return [
        SourceEnds(s.entity, s.source_rows, s.ready, s.quarantined, s.skipped, s.by_rule) for s in summary(connection)
    ]
