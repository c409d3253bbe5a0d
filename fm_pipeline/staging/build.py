"""Builds one staged entity, in one transaction: every source record gets an outcome, every ready one its row.

What a rule with the action `stop` notices does not end the build: all of it is written down, so that the administrator
sees the whole list at once, and `fm_pipeline.staging.check.check_staging` refuses to go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.commit import commit_without_waiting
from fm_pipeline.db.connection import transaction
from fm_pipeline.db.locks import AdvisoryLock, wait_for_lock
from fm_pipeline.db.queries import column_list, count
from fm_pipeline.db.table import Column, Table
from fm_pipeline.entities.order import parents
from fm_pipeline.entities.registry import CONTACT_DETAIL, ENTITIES, Entity, Registry
from fm_pipeline.entities.rules import Rules
from fm_pipeline.errors import StagingStop
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.crosswalk import adopt_equal_rows
from fm_pipeline.nexus.profile_fit import FittedRegistry, fit_registry
from fm_pipeline.nexus.staged_registry import remember, without_left_out
from fm_pipeline.staging.changed_records import EVERYTHING, ChangedRecords, find_changed, note_whole
from fm_pipeline.staging.inputs import build_fingerprint, names_in_nexus
from fm_pipeline.staging.lookups import read_context
from fm_pipeline.staging.origin import Extraction, built_from, extracted_again, read_extractions, stale_builds
from fm_pipeline.staging.record import Record
from fm_pipeline.staging.source import hash_queries, notice_patient, read_patients, read_records
from fm_pipeline.staging.staged_table import make_staged_table
from fm_pipeline.staging.summary import EntitySummary, summaries
from fm_pipeline.staging.transforms.contacts import addresses, contact_json, transform_contact
from fm_pipeline.staging.transforms.readers import Row, transform_of
from fm_pipeline.staging.values.keys import new_nexus_id
from fm_pipeline.staging.writer import StagingWriter

OnProgress = Callable[[int, int], None]
Transform = Callable[[Record], Row]
_STAGING_LOCK = AdvisoryLock("staging")
_ROWS_A_REPORT = 1000
_FEW = 0.05  # of the records: so few new rows change no plan of a query


@dataclass(frozen=True)
class BuildResult:
    """What a build did: the outcomes of the source rows (of patients, those of the contact details too)."""

    entity: str
    fed_columns: list[str]
    summaries: list[EntitySummary]


def build(
    connection: Connection,
    name: str,
    *,
    rules: Rules,
    run_id: str | None,
    now: datetime,
    time_zone: str,
    nexus_schema: str = "public",
    registry: Registry = ENTITIES,
    on_progress: OnProgress = lambda *_: None,
    only_changed: bool = True,
    catalogue: Catalogue | None = None,
) -> BuildResult:
    """Replace an entity's staged rows, outcomes and findings, and commit.

    Args:
        connection: to the Nexus database, not in autocommit mode.
        name: a key of the registry, after those that it points to; `patient` takes the contact details along.
        now: the time of the run, with a zone.
        time_zone: the clinic's, an IANA name.
        registry: of the profile.
        on_progress: called with the number of records read and the number that there are.
        only_changed: build only what has changed since the last build; the result is the same.
        catalogue: of Nexus, if it was just read. After a migration since, the next build is of everything.

    Raises:
        StagingStop: the entity was not extracted, the patients are not staged from what was extracted, or the
            extraction was replaced meanwhile. Nothing was changed.
        CatalogueStop: Nexus lacks a table that is looked up, or what the profile adds does not fit it.
        SettingsError: no such time zone.
    """
    with transaction(connection) as cursor:
        _begin(cursor)
        _take_turns(cursor, name, registry)
        extractions = read_extractions(cursor)
        catalogue = catalogue or read_catalogue(cursor, nexus_schema)
        fitted = fit_registry(cursor, catalogue, without_left_out(cursor, registry))
        _refuse_left_out(name, fitted)
        _refuse_missing_sources(cursor, name, extractions, fitted.registry)
        registry, entity = fitted.registry, fitted.registry[name]
        remember(cursor, entity, fitted.left_out.get(name, ()))
        make_staged_table(cursor, catalogue, entity)
        sources = [entity.name]
        _, fed, _, orders = extractions[entity.name]
        if entity.name == "patient" and CONTACT_DETAIL in extractions:
            sources.append(CONTACT_DETAIL)
            fed |= {CONTACT_DETAIL}
        # Before the names are read: one that changes between the two is read again by the next build.
        fingerprint = build_fingerprint(
            entity, extractions, rules, time_zone, names_in_nexus(cursor, catalogue, registry)
        )
        context = read_context(
            *(cursor, catalogue), fed=fed, now=now, time_zone=time_zone, more=entity.looked_up, date_orders=orders
        )
        columns = catalogue.columns.get(catalogue.table(entity.table), {})
        writer = StagingWriter(cursor, entity, rules, columns)
        transform = transform_of(entity, columns)
        hashes, changed = hash_queries(entity, catalogue, registry), EVERYTHING
        if only_changed:
            changed = find_changed(cursor, entity, hashes, fingerprint=fingerprint, rules=rules, now=now)
        if changed.is_whole:
            writer.clear(sources)
            note_whole(cursor, entity.name, fingerprint, now)
        aside = writer.put_aside() if entity.by_content else None
        progress = _Progress(on_progress, sum(extractions[each].row_count for each in sources))
        if entity.name == "patient":
            for patient, contacts in read_patients(connection, context, registry, changed):
                _end_patient(writer, entity, transform, patient, contacts)
                progress.add(len(contacts) + (patient is not None))
        else:
            needs_uuid = _needs_uuid(entity, columns)
            for record in read_records(
                connection, entity, context, catalogue, registry, needs_uuid=needs_uuid, changed=changed
            ):
                _end_record(writer, entity, transform, record)
                progress.add(1)
        writer.flush()
        if aside:
            _adopt_and_stage(cursor, entity, aside, Table(nexus_schema, entity.table), fed)
        progress.end()
        _refuse_other_extractions(cursor, extractions)
        fed_columns = entity.fed_columns(fed)
        for each in sources:
            ends = _count_ends(cursor, each)
            _stop_above_limits(cursor, each, rules, ends)
            origin = built_from(each, extractions, registry)
            stored = _record_build(cursor, each, origin, run_id, now, fed_columns if each == name else [], ends)
            _refuse_lost_rows(each, extractions[each], stored, sum(ends.values()))
        _analyze(cursor, entity, changed, extractions[entity.name].row_count)
        return BuildResult(entity.name, fed_columns, summaries(cursor, sources))


def _begin(cursor: Cursor) -> None:
    commit_without_waiting(cursor)
    # Every cursor is read to its end; plans for the first tenth of the rows were measured 20 times slower.
    cursor.execute("SET LOCAL cursor_tuple_fraction = 1")


def _analyze(cursor: Cursor, entity: Entity, changed: ChangedRecords, rows: int) -> None:
    """Measure what the reimport joins by. All columns took three times as long, and nothing asks for them."""
    if not changed.is_whole and changed.removed <= _FEW * rows:
        return
    quoted = [sql.Identifier(column).as_string(cursor) for column in entity.joined_columns]
    cursor.execute(f"ANALYZE fm_pipeline.{entity.staged_table} ({', '.join(quoted)})")


def _needs_uuid(entity: Entity, columns: Mapping[str, Column]) -> bool:
    """Whether a FileMaker id must be a uuid, because the column in Nexus is."""
    if entity.made and entity.id_column:
        return columns[entity.id_column].type == "uuid"
    return entity.files != "" or entity.id_column != ""


def _take_turns(cursor: Cursor, name: str, registry: Registry) -> None:
    """Wait until no other build is at work that this one depends on, or that depends on it; until the transaction ends.

    What nothing depends on may be built beside each other, each once; patients and other parents alone.
    """
    if any(name in parents(registry, other) for other in registry):
        wait_for_lock(cursor, _STAGING_LOCK)
    else:
        wait_for_lock(cursor, _STAGING_LOCK, shared=True)
        wait_for_lock(cursor, AdvisoryLock(_STAGING_LOCK.name, name))


def _refuse_left_out(name: str, fitted: FittedRegistry) -> None:
    if name not in fitted.registry:
        raise StagingStop(
            f"{name} cannot be staged. {' '.join(fitted.left_out.get(name, ()))}".strip(),
            meaning="There is nothing that it could be loaded into. Nothing was changed.",
            remedy=f"Extract {name} again, which leaves it out.",
        )


def _refuse_missing_sources(cursor: Cursor, name: str, extractions: dict[str, Extraction], registry: Registry) -> None:
    if name not in extractions:
        raise StagingStop(
            f"There is no extraction of {name}.",
            meaning="There is nothing to stage; what was staged before is unchanged.",
            remedy=f"Extract {name} from FileMaker first.",
        )
    before = parents(registry, name)
    if faults := stale_builds(cursor, before, extractions, registry):
        plurals = " and the ".join(registry[parent].plural.replace("_", " ") for parent in before)
        raise StagingStop(
            f"{name} cannot be staged: {'; '.join(faults)}.",
            meaning=f"Its records would be compared with other {plurals} than FileMaker has. Nothing was changed.",
            remedy=f"Stage the {plurals} first.",
        )


def _refuse_other_extractions(cursor: Cursor, extractions: dict[str, Extraction]) -> None:
    present = read_extractions(cursor)
    if any(present.get(entity) != extraction for entity, extraction in extractions.items()):
        raise extracted_again()


def _end_record(writer: StagingWriter, entity: Entity, transform: Transform, record: Record) -> None:
    row = transform(record)
    writer.notice_lengths(record, row)
    if writer.end(entity.name, record):
        writer.stage(_with_ids(entity, record, row))


def _end_patient(
    writer: StagingWriter, entity: Entity, transform: Transform, patient: Record | None, contacts: list[Record]
) -> None:
    row, is_loaded = {}, False
    if patient:
        row = transform(patient)
        writer.notice_lengths(patient, row)
        is_loaded = writer.end(entity.name, patient)
    details = []
    for contact in contacts:
        notice_patient(contact, is_known=patient is not None, is_loaded=is_loaded)
        detail = transform_contact(contact)
        if writer.end(CONTACT_DETAIL, contact) and detail:
            details.append(detail)
    if patient and is_loaded:
        own, others = addresses(details)
        metadata = row["filemaker_metadata"]
        if others and isinstance(metadata, dict):
            metadata["other_addresses"] = others
        row |= {
            "filemaker_metadata": _json(metadata),
            "contact_json": _json(contact_json(details)),
            "address_json": _json(own) if own else None,
        }
        writer.stage(_with_ids(entity, patient, row))


def _with_ids(entity: Entity, record: Record, row: Row) -> Row:
    row["record_id"] = record.record_id
    if entity.files:
        row["entity"] = entity.name
    else:
        row |= {"nexus_id": record.nexus_id or new_nexus_id(entity.name, record.key), "filemaker_key": record.key}
    return row


def _adopt_and_stage(cursor: Cursor, entity: Entity, rows: sql.Identifier, table: Table, fed: frozenset[str]) -> None:
    """Stage rows that were put aside; one that Nexus has already, known by its content alone, keeps its id."""
    adopt_equal_rows(cursor, rows, entity.name, table, entity.telling_columns(fed))
    names = [name for name in entity.staged_columns if name != "nexus_id"]
    cursor.execute(
        sql.SQL(
            "INSERT INTO {staged} (nexus_id, {columns}) SELECT coalesce(a.id, r.nexus_id), {values}"
            " FROM {rows} r LEFT JOIN adopted a ON a.filemaker_key = r.filemaker_key ORDER BY 1"
        ).format(
            staged=sql.Identifier("fm_pipeline", entity.staged_table),
            rows=rows,
            columns=column_list(names),
            values=column_list(names, of="r"),
        )
    )


def _count_ends(cursor: Cursor, entity: str) -> dict[tuple[str, str | None], int]:
    """Count the source rows by outcome and by the rule that decided."""
    cursor.execute(
        "SELECT outcome, rule, count(*) FROM fm_pipeline.staged_outcomes WHERE entity = %s GROUP BY outcome, rule",
        (entity,),
    )
    return {(outcome, rule): rows for outcome, rule, rows in cursor}


def _stop_above_limits(cursor: Cursor, entity: str, rules: Rules, ends: Mapping[tuple[str, str | None], int]) -> None:
    """Turn a rule that more rows break than single records explain into a stop."""
    total = sum(ends.values())
    cursor.execute(
        "SELECT rule, count(DISTINCT record_id) FROM fm_pipeline.staged_findings WHERE entity = %s GROUP BY rule",
        (entity,),
    )
    broken = cursor.fetchall()
    broken += [(rule, rows) for (outcome, rule), rows in ends.items() if outcome == "skipped"]
    for rule, rows in broken:
        if not rules[rule].is_exceeded(rows, total):
            continue
        if rules[rule].action == "skip":
            cursor.execute(
                "INSERT INTO fm_pipeline.staged_findings (entity, record_id, filemaker_id, rule, action)"
                " SELECT entity, record_id, filemaker_id, rule, 'stop' FROM fm_pipeline.staged_outcomes"
                " WHERE entity = %s AND rule = %s",
                (entity, rule),
            )
        else:
            cursor.execute(
                "UPDATE fm_pipeline.staged_findings SET action = 'stop' WHERE entity = %s AND rule = %s",
                (entity, rule),
            )


def _record_build(
    cursor: Cursor,
    entity: str,
    origin: list[str],
    run_id: str | None,
    now: datetime,
    fed_columns: list[str],
    ends: Mapping[tuple[str, str | None], int],
) -> int:
    """Store what an entity was built from and how its rows ended; return how many source rows are stored."""
    counted = dict.fromkeys(("ready", "quarantined", "skipped"), 0)
    for (outcome, _), rows in ends.items():
        counted[outcome] += rows
    cursor.execute(
        """
        INSERT INTO fm_pipeline.staged_builds
               (entity, built_from, built_at, run_id, source_rows, ready, quarantined, skipped, fed_columns)
        SELECT %(entity)s, %(origin)s::uuid[], %(now)s, %(run_id)s,
               (SELECT count(*) FROM fm_pipeline.source_records WHERE entity = %(entity)s),
               %(ready)s, %(quarantined)s, %(skipped)s, %(fed_columns)s
        RETURNING source_rows
        """,
        {"entity": entity, "origin": origin, "now": now, "run_id": run_id, "fed_columns": fed_columns, **counted},
    )
    return count(cursor)


def _refuse_lost_rows(entity: str, extraction: Extraction, stored: int, ended: int) -> None:
    """Every source row has exactly one outcome, and the source rows are those that the extraction counted."""
    if not stored == ended == extraction.row_count:
        raise StagingStop(
            f"Of {entity}, {extraction.row_count} records were extracted, {stored} are stored and {ended} have an"
            " outcome; these numbers must be equal.",
            meaning="Records would be lost. Nothing was changed.",
            remedy=f"Extract {entity} again.",
        )


class _Progress:
    """Counts records and reports now and then."""

    def __init__(self, report: OnProgress, total: int) -> None:
        self._report, self._total, self._done, self._reported = report, total, 0, 0

    def add(self, records: int) -> None:
        self._done += records
        if self._done - self._reported >= _ROWS_A_REPORT:
            self._reported = self._done
            self._report(self._done, self._total)

    def end(self) -> None:
        self._report(self._total, self._total)  # also those that were not built again


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
