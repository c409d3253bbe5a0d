"""The gate before the one transaction: what is staged is whole, current, and breaks no rule that stops."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.entities.registry import CONTACT_DETAIL
from fm_pipeline.entities.rules import Action, Rule, Rules, load_rules
from fm_pipeline.errors import CatalogueStop, StagingStop
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.reimport.files_of_gone_patients import (
    HOW_TO_LIST,
    FilesOfGonePatients,
    can_detach,
    find_files_without_patient,
)
from fm_pipeline.nexus.reimport.report import SourceOutcomes
from fm_pipeline.nexus.staged_registry import read_registry
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS
from fm_pipeline.nexus.table_policy import REQUIRED_ENTITIES
from fm_pipeline.pluralize import counted
from fm_pipeline.staging.origin import read_extractions, stale_builds
from fm_pipeline.staging.source_size import read_before
from fm_pipeline.staging.summary import EntitySummary, summary

# Findings of rows that would be loaded if nothing stopped: the row is ready, or only a stop keeps it out, its own or
# that of its patient. Other rows (an entry of the calendar without a patient, say) need not be put in order first.
# Findings lead, and outcomes are found by their key: the other way round was measured quadratic.
_FINDINGS = sql.SQL("""
WITH found AS MATERIALIZED (
    SELECT f.entity, f.record_id, f.rule, f.action, o.outcome, o.rule AS decided,
           bool_or(f.action = 'stop' AND f.rule = o.rule) OVER record AS is_stopped,
           bool_or(f.action = 'quarantine' AND f.rule <> 'patient_not_loaded') OVER record AS is_out_anyway
    FROM fm_pipeline.staged_findings f JOIN fm_pipeline.staged_outcomes o USING (entity, record_id)
    WHERE f.entity = ANY(%(entities)s) OR f.entity = 'patient'
    WINDOW record AS (PARTITION BY f.entity, f.record_id)
), stopped_patients AS MATERIALIZED (
    SELECT DISTINCT p.filemaker_key FROM found f
    JOIN fm_pipeline.source_records p ON p.entity = 'patient' AND p.record_id = f.record_id
    WHERE f.entity = 'patient' AND f.is_stopped AND p.filemaker_key IS NOT NULL
), loadable AS (
    SELECT f.* FROM found f
    WHERE f.entity = ANY(%(entities)s) AND (f.outcome = 'ready' OR f.is_stopped OR (
        f.decided = 'patient_not_loaded' AND NOT f.is_out_anyway
        AND (SELECT s.patient_key FROM fm_pipeline.source_records s
             WHERE s.entity = f.entity AND s.record_id = f.record_id) IN (SELECT filemaker_key FROM stopped_patients)))
)
""")
# What stops, by entity and rule, with the number of its rows and the first five of them.
_STOPS = _FINDINGS + sql.SQL("""
SELECT f.entity, f.rule, count(*), (array_agg(f.record_id ORDER BY f.record_id))[1:5],
       (SELECT source_rows FROM fm_pipeline.staged_builds b WHERE b.entity = f.entity)
FROM (SELECT DISTINCT entity, rule, record_id FROM loadable WHERE action = 'stop') f
GROUP BY f.entity, f.rule ORDER BY f.entity, f.rule
""")
# Rows that are loaded, or would be once every stop is settled.
_LOADABLE = _FINDINGS + sql.SQL("""
SELECT b.entity, b.ready + coalesce(l.rows, 0)
FROM fm_pipeline.staged_builds b
     LEFT JOIN (SELECT entity, count(DISTINCT record_id) AS rows FROM loadable
                WHERE outcome <> 'ready' GROUP BY entity) l USING (entity)
WHERE b.entity = ANY(%(entities)s) ORDER BY b.entity
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
    files: FilesOfGonePatients | None = None,
) -> list[Broken]:
    """Refuse staged rows that must not be loaded. Writes nothing and ends no transaction.

    Args:
        entities: those that are to be loaded; None for all that were extracted, and those that a reimport needs.
        rules: the clinic's, for what is asked of the source as a whole; None for the defaults. What single rows
            break was decided by the rules that they were staged with.
        nexus_schema: where the rows are that would be replaced.
        files: what is decided about files of deleted patients; None: they are not looked at.

    Returns:
        What is broken and allowed by the clinic's rules or settings.

    Raises:
        StagingStop: lists everything at once: entities that are not staged or not from the newest extraction, and
            each rule that stops with its sentence, the number of rows, some record ids, and what to do.
    """
    with connection.cursor() as cursor:
        extractions = read_extractions(cursor)
        registry = read_registry(cursor)
        checked = set(entities) if entities is not None else {*extractions} - {CONTACT_DETAIL} | {*REQUIRED_ENTITIES}
        if "patient" in checked and CONTACT_DETAIL in extractions:
            checked.add(CONTACT_DETAIL)
        faults = [
            f"- {fault}: stage it again" for fault in stale_builds(cursor, sorted(checked), extractions, registry)
        ]
        known = files if not faults else None  # of patients that are not staged nobody can tell who is deleted
        broken = broken_rules(cursor, checked, rules=rules, nexus_schema=nexus_schema, files=known)
        faults += [str(each) for each in broken if each.action == "stop"]
    if faults:
        raise StagingStop(
            "The staged rows cannot be loaded:\n" + "\n".join(faults) + "\n",
            meaning="Nexus is unchanged.",
            remedy="Settle each point, then start again. RULES_FILE can change what some rules do.",
        )
    return broken


def broken_rules(
    cursor: Cursor,
    entities: Collection[str],
    *,
    rules: Rules | None = None,
    nexus_schema: str = "public",
    files: FilesOfGonePatients | None = None,
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
    catalogue = read_catalogue(cursor, nexus_schema)
    registry = read_registry(cursor)
    before = read_before(cursor, catalogue, "loaded", registry)
    cursor.execute(_LOADABLE, names)
    for entity, rows in cursor:
        if found := before.broken(rules, entity, rows):
            rule, numbers = found
            broken.append(Broken(entity, rule.id, rule.action, rule.means, rule.remedy, numbers))
    if files:
        broken += _files_left(cursor, catalogue, entities, files, rules["file_patient_gone"])
    order = list(registry)
    return sorted(broken, key=lambda each: order.index(each.entity) if each.entity in order else len(order))


def _files_left(
    cursor: Cursor, catalogue: Catalogue, entities: Collection[str], files: FilesOfGonePatients, rule: Rule
) -> Iterator[Broken]:
    """Files of deleted patients: a stop until somebody has decided what to do with them."""
    whole = set(REQUIRED_ENTITIES) <= set(entities)
    try:
        files = files.with_archive_patient(cursor, catalogue)
    except CatalogueStop as stop:
        yield Broken("patient", rule.id, "stop", stop.meaning, stop.remedy, stop.what.removesuffix("."))
        return
    for entity, table, names in (
        ("document", DOCUMENTS, ("document", "documents")),
        ("image", BATCHES, ("image batch", "image batches")),
    ):
        if not (whole or entity in entities) or not catalogue.has(table):
            continue
        left = find_files_without_patient(cursor, catalogue, table, files.kept)
        if not left:
            continue
        found = f"{counted(len(left), *names)} of {counted(len({each.patient_id for each in left}), 'patient')}"
        action: Action = "flag"
        if files.decision == "archive":
            remedy = f"They would go to NEXUS_ARCHIVE_PATIENT. {HOW_TO_LIST}"
        elif files.decision == "detach" and can_detach(catalogue, table):
            remedy = f"They would stay without a patient. {HOW_TO_LIST}"
        elif files.decision == "detach":
            action = "stop"
            remedy = f"The table {table} allows none without a patient: take NEXUS_FILES_OF_GONE_PATIENTS=archive."
        else:
            action, remedy = "stop", rule.remedy
        yield Broken(entity, rule.id, action, rule.means, remedy, found)


def _why(rule: Rule) -> str:
    """Why a rule stops that usually does not."""
    if rule.action == "stop":
        return ""
    return "That many are hardly single records (or RULES_FILE makes it a stop): check the mapped field first. "


def staged_columns(cursor: Cursor) -> dict[str, list[str]]:
    """The Nexus columns that each staged entity feeds."""
    cursor.execute("SELECT entity, fed_columns FROM fm_pipeline.staged_builds ORDER BY entity")
    return dict(cursor.fetchall())


def source_outcomes(connection: Connection) -> list[SourceOutcomes]:
    """The summaries as the report of a reimport has them: what was ready is loaded then."""
    return [outcomes_of(each) for each in summary(connection)]


def outcomes_of(each: EntitySummary) -> SourceOutcomes:
    """A summary as the report has it."""
    return SourceOutcomes(each.entity, each.source_rows, each.ready, each.quarantined, each.skipped, each.by_rule)
