"""Raw records as a stream: read with server-side cursors, so that memory stays flat, each with what it is held against.

A fetch brings many records, but of a long one (a note with pages of text) only that it is there: it is read by itself.

The extraction put them into `fm_pipeline.source_records`. Keys there are trimmed and in lower case already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from fm_pipeline.entities.registry import CONTACT_DETAIL, ENTITIES, Entity, Parent, Registry
from fm_pipeline.nexus.catalogue.file_ids import file_id_type
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.staging.changed_records import EVERYTHING, ChangedRecords
from fm_pipeline.staging.lookups import table_identifier
from fm_pipeline.staging.origin import extracted_again
from fm_pipeline.staging.record import Context, Record
from fm_pipeline.staging.values.keys import is_uuid

_ROWS_A_FETCH = 2000
# Times the rows of a fetch it is what a fetch may need, and few records are longer. What a record takes as it is stored
# (compressed, if it is not short) is known without reading it, and spares nearly all of them the look at its text.
_LONG_BYTES, _SHORT_STORED_BYTES = 1 << 13, 1 << 10
_read_json = json.JSONDecoder().raw_decode  # what psycopg2 would do, without three calls a record

# What every record is held against: the crosswalk, and the other records of its entity.
_COLUMNS = """
s.record_id, coalesce(s.filemaker_key, ''), coalesce(s.patient_key, ''),
CASE WHEN pg_column_size(s.fields) <= %(short)s OR octet_length(s.fields::text) <= %(long)s THEN s.fields::text END,
c.nexus_id::text,
s.filemaker_key IN (SELECT o.filemaker_key FROM fm_pipeline.source_records o
                    WHERE o.entity = %(entity)s AND o.filemaker_key IS NOT NULL
                    GROUP BY o.filemaker_key HAVING count(*) > 1)
"""
_FROM = """
FROM fm_pipeline.source_records s
     LEFT JOIN fm_pipeline.crosswalk c ON c.entity = s.entity AND c.filemaker_key = s.filemaker_key
"""
_PATIENT_COLUMNS = """,
p.nexus_id::text, p.nexus_id IS NOT NULL OR EXISTS (SELECT 1 FROM fm_pipeline.source_records o
                                                   WHERE o.entity = 'patient' AND o.filemaker_key = s.patient_key)
"""
_PATIENT_JOIN = " LEFT JOIN fm_pipeline.staged_patients p ON p.filemaker_key = s.patient_key "


# The same, each record with its whole content, for a hash. It is a statement without parameters.
_HASHED_COLUMNS = _COLUMNS.replace(_COLUMNS.splitlines()[2], "s.fields::text,")


def hash_queries(entity: Entity, catalogue: Catalogue, registry: Registry) -> dict[str, sql.Composable]:
    """Return by source a query of `record_id`, `unit` and `hash`: of all that a build of the record depends on.

    A patient and the contact details are one unit. The parents of the entity must be staged.
    """
    if entity.name == "patient":
        others = entity.other_parents
        return {
            "patient": _hash_query(
                "patient",
                sql.SQL("coalesce(s.filemaker_key, '')"),
                _parent_columns(others),
                sql.SQL(_FROM) + _parent_joins(others, registry),
            ),
            CONTACT_DETAIL: _hash_query(
                CONTACT_DETAIL, sql.SQL("coalesce(s.patient_key, '')"), sql.SQL(""), sql.SQL(_FROM)
            ),
        }
    columns, tables = _held_against(entity, catalogue, registry)
    return {entity.name: _hash_query(entity.name, sql.SQL("s.record_id::text"), columns, tables)}


def _hash_query(entity: str, unit: sql.Composable, columns: sql.Composable, tables: sql.Composable) -> sql.Composable:
    own = sql.Literal(entity)
    before, after = _HASHED_COLUMNS.split("%(entity)s")
    row = sql.SQL(before) + own + sql.SQL(after) + columns
    return sql.SQL(
        "SELECT s.record_id, {unit} AS unit, hashtextextended(ROW({row})::text, 0) AS hash {tables}"
        " WHERE s.entity = {own}"
    ).format(unit=unit, row=row, tables=tables, own=own)


def _held_against(entity: Entity, catalogue: Catalogue, registry: Registry) -> tuple[sql.Composable, sql.Composable]:
    """Return what a record is held against beside `_COLUMNS`, and the tables that it all comes from."""
    known: sql.Composable = sql.SQL(", true")
    join: sql.Composable = sql.SQL("")
    if entity.files and file_id_type(catalogue, entity.files) == "other":
        known = sql.SQL(", false")
    elif entity.files:
        known = sql.SQL(", f.filemaker_id IS NOT NULL")
        join = sql.SQL("LEFT JOIN {} f ON f.filemaker_id::text = s.filemaker_key").format(
            table_identifier(catalogue, entity.files)
        )
    others = entity.other_parents
    columns = sql.SQL(_PATIENT_COLUMNS if entity.has_patient else ", NULL, true") + known + _parent_columns(others)
    patients = _PATIENT_JOIN if entity.has_patient else ""
    return columns, sql.SQL(_FROM + patients) + join + _parent_joins(others, registry)


def read_records(
    connection: Connection,
    entity: Entity,
    context: Context,
    catalogue: Catalogue,
    registry: Registry,
    *,
    needs_uuid: bool,
    changed: ChangedRecords = EVERYTHING,
) -> Iterator[Record]:
    """Records of any entity but the patients, by record id; its parents must be staged.

    Args:
        changed: which of them.
        needs_uuid: its id must be a uuid, since that is what the column in Nexus is.
    """
    others = entity.other_parents
    columns, tables = _held_against(entity, catalogue, registry)
    which = changed.condition(sql.SQL("s.record_id::text"))
    end = sql.SQL(" WHERE s.entity = %(entity)s AND {} ORDER BY s.record_id").format(which)
    query = sql.SQL("SELECT" + _COLUMNS) + columns + tables + end
    for row in _stream(connection, query, entity.name):
        record = _record(connection, entity.name, context, row, needs_uuid=needs_uuid)
        patient_id, patient_is_known, file_is_known, *rest = row[6:]
        record.patient_id = patient_id
        if entity.has_patient:
            notice_patient(record, is_known=patient_is_known, is_loaded=patient_id is not None)
        if others:
            _take_parents(record, others, rest)
        if not file_is_known:
            record.notice("file_not_in_nexus")
        yield record


def _parent_columns(parents: Sequence[Parent]) -> sql.Composable:
    """Of each parent: the key that the record has, its Nexus id if it is loaded, and whether FileMaker has it."""
    return sql.SQL("").join(
        sql.SQL(
            ", s.parent_keys ->> {field}, {alias}.nexus_id::text, {alias}.nexus_id IS NOT NULL OR EXISTS (SELECT 1"
            " FROM fm_pipeline.source_records o WHERE o.entity = {entity}"
            " AND o.filemaker_key = s.parent_keys ->> {field})"
        ).format(
            field=sql.Literal(parent.field), alias=sql.Identifier(f"parent_{n}"), entity=sql.Literal(parent.entity)
        )
        for n, parent in enumerate(parents)
    )


def _parent_joins(parents: Sequence[Parent], registry: Registry) -> sql.Composable:
    return sql.SQL("").join(
        sql.SQL(" LEFT JOIN {staged} {alias} ON {alias}.filemaker_key = s.parent_keys ->> {field}").format(
            staged=sql.Identifier("fm_pipeline", registry[parent.entity].staged_table),
            alias=sql.Identifier(f"parent_{n}"),
            field=sql.Literal(parent.field),
        )
        for n, parent in enumerate(parents)
    )


def _take_parents(record: Record, parents: Sequence[Parent], found: Sequence[Any]) -> None:
    """The ids of what a record names, and the rules about those that it must name, or names in vain."""
    ids = {}
    for parent, key, nexus_id, is_known in zip(parents, found[::3], found[1::3], found[2::3], strict=True):
        record.line(parent.field)  # notices a field that the account may not read
        if nexus_id is not None:
            ids[parent.field] = nexus_id
        elif not parent.needed:
            if key:
                record.notice("reference_unknown", parent.field)
        elif not key:
            record.notice("record_without_parent", parent.field)
        else:
            record.notice("parent_not_loaded" if is_known else "parent_unknown", parent.field)
    record.parents = ids


def read_patients(
    connection: Connection, context: Context, registry: Registry, changed: ChangedRecords = EVERYTHING
) -> Iterator[tuple[Record | None, list[Record]]]:
    """Patients with their contact details, which come in the order of record ids.

    Args:
        changed: which of them.

    A contact detail that belongs to no patient comes alone, with None as the patient.
    """
    key = sql.SQL("coalesce(s.filemaker_key, '')")
    patients = _by_key(connection, "patient", context, key, changed, registry["patient"].other_parents, registry)
    contacts = _by_key(connection, CONTACT_DETAIL, context, sql.SQL("coalesce(s.patient_key, '')"), changed)
    contact = next(contacts, None)
    for patient in patients:
        while contact and contact.patient_key < (patient.key or "\0"):
            yield None, [contact]
            contact = next(contacts, None)
        mine = []
        while contact and patient.key and contact.patient_key == patient.key:
            mine.append(contact)
            contact = next(contacts, None)
        yield patient, mine
    while contact:
        yield None, [contact]
        contact = next(contacts, None)


def notice_patient(record: Record, *, is_known: bool, is_loaded: bool) -> None:
    """The three rules that hold for every entity with a patient."""
    if not record.is_plain:
        record.line("patient")  # notices a field that the account may not read
    if not record.patient_key:
        record.notice("record_without_patient", "patient")
    elif not is_known:
        record.notice("patient_unknown", "patient")
    elif not is_loaded:
        record.notice("patient_not_loaded", "patient")


def _by_key(
    connection: Connection,
    entity: str,
    context: Context,
    key: sql.Composable,
    changed: ChangedRecords,
    parents: Sequence[Parent] = (),
    registry: Registry = ENTITIES,
) -> Iterator[Record]:
    """Records in the order of a key; the collation is the order in which Python compares texts."""
    query = (
        sql.SQL("SELECT" + _COLUMNS)
        + _parent_columns(parents)
        + sql.SQL(_FROM)
        + _parent_joins(parents, registry)
        + sql.SQL(" WHERE s.entity = %(entity)s AND {} ORDER BY ").format(changed.condition(key))
        + key
        + sql.SQL(' COLLATE "C", s.record_id')
    )
    for row in _stream(connection, query, entity):
        record = _record(connection, entity, context, row, needs_uuid=False)
        if parents:
            _take_parents(record, parents, row[6:])
        yield record


def _stream(connection: Connection, query: sql.Composable, entity: str) -> Iterator[Sequence[Any]]:
    with connection.cursor(f"fm_pipeline_{entity}") as cursor:
        cursor.itersize = _ROWS_A_FETCH
        cursor.execute(query, {"entity": entity, "long": _LONG_BYTES, "short": _SHORT_STORED_BYTES})
        yield from cursor


def _record(connection: Connection, entity: str, context: Context, row: Sequence[Any], *, needs_uuid: bool) -> Record:
    record_id, key, patient_key, fields, nexus_id, is_twice = row[:6]
    if fields is None:
        fields = _long_fields(connection, entity, record_id)
    # Without a backslash there is no escape in it, so no control character either: JSON allows none unescaped.
    is_plain = fields.isascii() and "\\" not in fields and "<" not in fields
    record = Record(record_id, key, patient_key, _read_json(fields)[0], context, is_plain)
    if len(fields) > _LONG_BYTES:
        record.long = len(fields)
    if not key:
        record.notice("filemaker_id_missing", "filemaker_id")
        return record
    record.nexus_id = nexus_id
    if is_twice:
        record.notice("filemaker_id_twice", "filemaker_id")
    if needs_uuid and not is_uuid(key):
        record.notice("filemaker_id_not_uuid", "filemaker_id")
    return record


def _long_fields(connection: Connection, entity: str, record_id: int) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT fields::text FROM fm_pipeline.source_records WHERE entity = %s AND record_id = %s",
            (entity, record_id),
        )
        row = cursor.fetchone()
    if row is None:
        raise extracted_again()
    return str(row[0])
