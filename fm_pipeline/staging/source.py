"""Raw records as a stream, each with the rows that it is compared with. Server-side cursors keep memory use constant.

A fetch brings many records. Of a long one (a note with pages of text) it only shows that it exists: that record is read
by itself. Each record comes with a hash of all that its row is made from, so that a later build can tell what has
changed.

The extraction put them into `fm_pipeline.source_records`. Keys there are trimmed and in lower case already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from fm_pipeline.entities.registry import CONTACT_DETAIL, Entity, Parent, Registry
from fm_pipeline.nexus.catalogue.file_ids import COLUMN, file_id_type, id_key
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.staging.changed_records import ChangedRecords
from fm_pipeline.staging.lookups import table_identifier
from fm_pipeline.staging.origin import extracted_again
from fm_pipeline.staging.record import Context, Record
from fm_pipeline.staging.values.keys import is_uuid

_ROWS_A_FETCH = 2000
_LONG_BYTES = 1 << 13  # times the rows of a fetch it is what a fetch may need, and few records are longer
_read_json = json.JSONDecoder().raw_decode  # what psycopg2 would do, without three calls a record

# What every record is compared with: the crosswalk, and the other records of its entity.
_COLUMNS = """
s.record_id, coalesce(s.filemaker_key, '') AS key, coalesce(s.patient_key, '') AS patient_key, s.fields::text AS fields,
c.nexus_id,
twice.filemaker_key IS NOT NULL AS is_twice
"""
# A join: for an IN, PostgreSQL would go through the index to save half of the groups, and fetch each row anyway.
_FROM = """
FROM fm_pipeline.source_records s
     LEFT JOIN fm_pipeline.crosswalk c ON c.entity = s.entity AND c.filemaker_key = s.filemaker_key
     LEFT JOIN (SELECT o.filemaker_key FROM fm_pipeline.source_records o WHERE o.entity = {entity}
                GROUP BY o.filemaker_key HAVING count(*) > 1) twice ON twice.filemaker_key = s.filemaker_key
"""
_PATIENT_COLUMNS = """,
p.nexus_id AS patient_id,
p.nexus_id IS NOT NULL OR EXISTS (SELECT 1 FROM fm_pipeline.source_records o
                                  WHERE o.entity = 'patient' AND o.filemaker_key = s.patient_key) AS patient_is_known
"""
_PATIENT_JOIN = " LEFT JOIN fm_pipeline.staged_patients p ON p.filemaker_key = s.patient_key "
_OF_A_PARENT = ("key", "id", "is_known")
_SOURCE_UNIT = {"patient": "coalesce(s.filemaker_key, '')", CONTACT_DETAIL: "coalesce(s.patient_key, '')"}
_BY_PATIENT = {"patient": "key", CONTACT_DETAIL: "patient_key"}  # what their units are


@dataclass(frozen=True)
class _Query:
    """The records of an entity, with `_COLUMNS` and the columns of the rows that they are compared with.

    Attributes:
        names: of the further columns.
    """

    entity: str
    names: Sequence[str]
    columns: sql.Composable
    joins: sql.Composable

    def records(self, changed: ChangedRecords, order: sql.Composable) -> sql.Composable:
        """Select the records for a build, in the order of some of these columns."""
        names = sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(name)) for name in self.names)
        return sql.SQL(
            "SELECT record_id, key, patient_key, CASE WHEN octet_length(fields) <= {long} THEN fields END, nexus_id,"
            " is_twice, hash_record_extended(r, 0){names} FROM ({rows} AND {which} OFFSET 0) r ORDER BY {order}"
        ).format(
            long=sql.Literal(_LONG_BYTES),
            names=names,
            rows=self._rows(),
            which=changed.condition(sql.SQL(_SOURCE_UNIT.get(self.entity, "s.record_id::text"))),
            order=order,
        )

    def hashes(self) -> sql.Composable:
        """Select `entity`, `record_id`, `unit` and `inputs`, the hash of a record. A record alone has no unit."""
        return sql.SQL(
            "SELECT {entity}::text AS entity, record_id, {unit} AS unit, hash_record_extended(r, 0) AS inputs"
            " FROM ({rows} OFFSET 0) r"
        ).format(
            entity=sql.Literal(self.entity),
            unit=sql.SQL(_BY_PATIENT.get(self.entity, "NULL::text")),
            rows=self._rows(),
        )

    def _rows(self) -> sql.Composable:
        own = sql.Literal(self.entity)
        columns = sql.SQL("SELECT" + _COLUMNS) + self.columns
        return columns + sql.SQL(_FROM).format(entity=own) + self.joins + sql.SQL(" WHERE s.entity = {}").format(own)


def hash_queries(entity: Entity, catalogue: Catalogue, registry: Registry) -> dict[str, sql.Composable]:
    """Return by source a query of `entity`, `record_id`, `unit` and `inputs`: a hash of all that a build depends on.

    A patient and the contact details are one unit. The parents of the entity must be staged.
    """
    if entity.name == "patient":
        return {name: _of_patients(name, registry).hashes() for name in _BY_PATIENT}
    return {entity.name: _of_others(entity, catalogue, registry).hashes()}


def _of_patients(source: str, registry: Registry) -> _Query:
    others = registry["patient"].other_parents if source == "patient" else ()
    return _Query(source, _parent_names(others), _parent_columns(others), _parent_joins(others, registry))


def _of_others(entity: Entity, catalogue: Catalogue, registry: Registry) -> _Query:
    known: sql.Composable = sql.SQL(", true AS file_is_known")
    join: sql.Composable = sql.SQL("")
    kind = file_id_type(catalogue, entity.files) if entity.files else None
    if kind == "other":
        known = sql.SQL(", false AS file_is_known")
    elif kind:
        known = sql.SQL(", f.key IS NOT NULL AS file_is_known")
        # A join: PostgreSQL hashes the rows of an EXISTS here only if they fit into work_mem. If not, it reads all of
        # them for each record.
        join = sql.SQL(" LEFT JOIN (SELECT DISTINCT {} AS key FROM {}) f ON f.key = s.filemaker_key ").format(
            id_key(COLUMN, is_uuid=kind == "uuid"), table_identifier(catalogue, entity.files)
        )
    others = entity.other_parents
    patient = _PATIENT_COLUMNS if entity.has_patient else ", NULL::text AS patient_id, true AS patient_is_known"
    return _Query(
        entity.name,
        ("patient_id", "patient_is_known", "file_is_known", *_parent_names(others)),
        sql.SQL(patient) + known + _parent_columns(others),
        sql.SQL(_PATIENT_JOIN if entity.has_patient else "") + join + _parent_joins(others, registry),
    )


def read_records(
    connection: Connection,
    entity: Entity,
    context: Context,
    catalogue: Catalogue,
    registry: Registry,
    *,
    needs_uuid: bool,
    changed: ChangedRecords,
) -> Iterator[Record]:
    """Records of any entity but the patients, by record id; its parents must be staged.

    Args:
        changed: which of them.
        needs_uuid: its id must be a uuid, since that is what the column in Nexus is.
    """
    others = entity.other_parents
    query = _of_others(entity, catalogue, registry).records(changed, sql.SQL("record_id"))
    for row in _stream(connection, query, entity.name):
        record = _record(connection, entity.name, context, row, needs_uuid=needs_uuid)
        patient_id, patient_is_known, file_is_known, *rest = row[7:]
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
            ", s.parent_keys ->> {field} AS {key}, {alias}.nexus_id AS {id},"
            " {alias}.nexus_id IS NOT NULL OR EXISTS (SELECT 1 FROM fm_pipeline.source_records o"
            " WHERE o.entity = {entity} AND o.filemaker_key = s.parent_keys ->> {field}) AS {is_known}"
        ).format(
            field=sql.Literal(parent.field),
            alias=sql.Identifier(f"parent_{n}"),
            entity=sql.Literal(parent.entity),
            **{name: sql.Identifier(f"parent_{n}_{name}") for name in _OF_A_PARENT},
        )
        for n, parent in enumerate(parents)
    )


def _parent_names(parents: Sequence[Parent]) -> tuple[str, ...]:
    return tuple(f"parent_{n}_{name}" for n in range(len(parents)) for name in _OF_A_PARENT)


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
    """Set the Nexus ids of the records that a record names; note a parent that is needed or named, but not loaded."""
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
    connection: Connection, context: Context, registry: Registry, changed: ChangedRecords
) -> Iterator[tuple[Record | None, list[Record]]]:
    """Patients with their contact details, which come in the order of record ids.

    Args:
        changed: which of them.

    A contact detail that belongs to no patient comes alone, with None as the patient.
    """
    patients = _by_key(connection, "patient", context, registry, changed, "key")
    contacts = _by_key(connection, CONTACT_DETAIL, context, registry, changed, "patient_key")
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
    connection: Connection, source: str, context: Context, registry: Registry, changed: ChangedRecords, key: str
) -> Iterator[Record]:
    """Records in the order of a key; the collation is the order in which Python compares texts."""
    order = sql.SQL('{} COLLATE "C", record_id').format(sql.Identifier(key))
    parents = registry["patient"].other_parents if source == "patient" else ()
    for row in _stream(connection, _of_patients(source, registry).records(changed, order), source):
        record = _record(connection, source, context, row, needs_uuid=False)
        record.unit = record.key if source == "patient" else record.patient_key
        if parents:
            _take_parents(record, parents, row[7:])
        yield record


def _stream(connection: Connection, query: sql.Composable, entity: str) -> Iterator[Sequence[Any]]:
    with connection.cursor(f"fm_pipeline_{entity}") as cursor:
        cursor.itersize = _ROWS_A_FETCH
        cursor.execute(query)
        yield from cursor


def _record(connection: Connection, entity: str, context: Context, row: Sequence[Any], *, needs_uuid: bool) -> Record:
    record_id, key, patient_key, fields, nexus_id, is_twice, inputs = row[:7]
    if fields is None:
        fields = _long_fields(connection, entity, record_id)
    # Without a backslash there is no escape in it, so no control character either: JSON allows none unescaped.
    is_plain = fields.isascii() and "\\" not in fields and "<" not in fields
    record = Record(record_id, key, patient_key, _read_json(fields)[0], context, inputs, is_plain)
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
