"""Extraction: every record of an entity's layout into `fm_pipeline.source_records`, all of them or none.

The values stay as FileMaker gave them, under canonical names; what they mean is the business of
`fm_pipeline.staging`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fm_pipeline.db.commit import commit_without_waiting
from fm_pipeline.db.copy import copy_rows
from fm_pipeline.db.locks import AdvisoryLock, try_lock
from fm_pipeline.entities.resolution import Resolution, resolve
from fm_pipeline.errors import LockStop
from fm_pipeline.filemaker.door import Door, Progress, Reading
from fm_pipeline.filemaker.errors import ChangedWhileReading, FieldMissing
from fm_pipeline.filemaker.model import GROUP_SEPARATOR, Field, FileMakerRecord, Value
from fm_pipeline.staging.origin import note_lower_versions, note_orders, remember_versions
from fm_pipeline.staging.values.keys import as_key

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from fm_pipeline.entities.profile import Profile

COLUMNS = ("entity", "record_id", "mod_id", "filemaker_key", "patient_key", "modified", "fields")
PARENT_KEYS = "parent_keys"  # a further column, for an entity that names other records than its patient
_PLACE_ONCE = (
    "Place the field {} once on the layout {}, with all its repetitions (in FileMaker's inspector, Data, Show"
    " repetitions), then start again."
)


@dataclass(frozen=True, slots=True)
class ExtractionResult:
    """What an extraction took.

    Args:
        unfed: canonical fields of the profile that the layout does not have.
        digest: of record ids and contents; equal contents have equal digests, in whatever order they came.
        signature: of what feeds the entity (`Resolution.signature`).
    """

    entity: str
    extraction_id: uuid.UUID
    layout: str
    row_count: int
    fed_fields: tuple[str, ...]
    unfed: tuple[str, ...]
    digest: str
    signature: str


def extract(
    door: Door,
    connection: Connection,
    profile: Profile,
    entity: str,
    *,
    run_id: str | None,
    now: Callable[[], dt.datetime],
    on_progress: Progress | None = None,
    page_size: int = 1000,
) -> ExtractionResult:
    """Replace the extracted records of an entity by what FileMaker has now.

    Args:
        door: into the FileMaker file.
        connection: to the Nexus database, outside a transaction; one is begun and committed here.
        profile: says where the entity's records are.
        run_id: Dagster's, when there is one.
        now: the clock, with a time zone.
        on_progress: called after each page with rows so far and the found count.

    Raises:
        MappingError: the layout or a required field is missing; before anything is read.
        FileMakerError: FileMaker refused, failed, or is being edited all the time.
        LockStop: the entity is being extracted elsewhere.
        psycopg2.Error: PostgreSQL refused.

        After each of them the earlier extraction is whole.
    """
    started_at = now()
    resolution = resolve(profile, entity, door.tables(), door.fields, door.kind)
    with connection, connection.cursor() as cursor:
        commit_without_waiting(cursor)
        refuse_second_extraction(cursor, entity)
        other_file = remember_versions(cursor, entity, door.source, resolution.layout)
        parents = parents_of(profile, entity)
        reading = Reading(resolution.layout, resolution.fields, page_size, on_progress)
        taken = door.read(reading, partial(_take, cursor, resolution, parents))
        note_lower_versions(cursor, entity, started_at, other_file=other_file)
        result = ExtractionResult(
            entity=entity,
            extraction_id=uuid.uuid4(),
            layout=resolution.layout,
            row_count=taken.rows,
            fed_fields=tuple(sorted(resolution.feeds)),
            unfed=resolution.unfed,
            digest=taken.digest,
            signature=resolution.signature,
        )
        cursor.execute("DELETE FROM fm_pipeline.source_extractions WHERE entity = %s", (entity,))
        cursor.execute(
            "INSERT INTO fm_pipeline.source_extractions (entity, extraction_id, profile, layout, source, run_id,"
            " started_at, finished_at, found_count, row_count, fed_fields, digest)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                entity,
                str(result.extraction_id),
                profile.name,
                result.layout,
                door.source,
                run_id,
                started_at,
                now(),
                taken.rows,  # equal to FileMaker's count, or the reading was refused
                taken.rows,
                list(result.fed_fields),
                result.digest,
            ),
        )
        note_orders(cursor, resolution, profile)
    return result


def key_of(value: Value | None) -> str | None:
    """An id as it is compared, see `as_key`; None when empty."""
    return as_key(value) or None


@dataclass(slots=True)
class DigestedRows:
    """The number of rows and the sum of their hashes, which does not depend on their order."""

    rows: int = 0
    _sum: int = 0

    @classmethod
    def from_digest(cls, digest: str) -> DigestedRows:
        """Go on from the rows of a digest."""
        rows, _, total = digest.partition(":")
        return cls(int(rows), int(total, 16))

    def add(self, record_id: int, fields: str) -> None:
        """Add a row."""
        self.rows += 1
        self._sum = (self._sum + _hash(record_id, fields)) % (1 << 256)

    def remove(self, record_id: int, fields: str) -> None:
        """Take out a row that was added."""
        self.rows -= 1
        self._sum = (self._sum - _hash(record_id, fields)) % (1 << 256)

    @property
    def digest(self) -> str:
        """The digest of the rows so far."""
        return f"{self.rows}:{self._sum:064x}"


def _hash(record_id: int, fields: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{record_id}\n{fields}".encode()).digest())


def refuse_second_extraction(cursor: Cursor, entity: str) -> None:
    """Let no second extraction of the entity run; the lock ends with the transaction."""
    if not try_lock(cursor, AdvisoryLock("extract", entity)):
        raise LockStop(
            f"Another run is extracting {entity} at this moment.",
            meaning="Nothing was changed.",
            remedy="Wait until it has ended, then start again.",
        )


def _take(
    cursor: Cursor, resolution: Resolution, parents: Sequence[str], records: Iterator[FileMakerRecord]
) -> DigestedRows:
    """Replace the stored records of an entity."""
    taken = DigestedRows()
    cursor.execute("SAVEPOINT reading")
    try:
        cursor.execute("DELETE FROM fm_pipeline.source_records WHERE entity = %s", (resolution.entity,))
        rows = canonical_rows(resolution, records, parents, taken)
        copy_rows(cursor, "fm_pipeline.source_records", columns_of(parents), rows)
    except ChangedWhileReading:  # the next reading goes on in this transaction
        cursor.execute("ROLLBACK TO SAVEPOINT reading")
        raise
    return taken


def parents_of(profile: Profile, entity: str) -> list[str]:
    """Return the canonical fields by which a record names other records than its patient."""
    return [parent.field for parent in profile.registry[entity].other_parents]


def columns_of(parents: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of `source_records` that `canonical_rows` gives."""
    return (*COLUMNS, PARENT_KEYS) if parents else COLUMNS


def canonical_rows(
    resolution: Resolution, records: Iterable[FileMakerRecord], parents: Sequence[str], taken: DigestedRows
) -> Iterator[tuple[object, ...]]:
    """Yield the records as rows of `source_records`.

    Args:
        parents: see `parents_of`.
        taken: counts them.
    """
    rows = _rows(resolution, records, taken)
    return _with_parents(rows, parents) if parents else rows


def _rows(
    resolution: Resolution, records: Iterable[FileMakerRecord], taken: DigestedRows
) -> Iterator[tuple[object, ...]]:
    for record in records:
        fields = _canonical(resolution, record)
        text = json.dumps(fields, ensure_ascii=True, sort_keys=True)
        taken.add(record.record_id, text)
        keys = key_of(fields.get("filemaker_id")), key_of(fields.get("patient"))
        modified = str(record.fields.get(resolution.modified.name, "")) if resolution.modified else None
        yield (resolution.entity, record.record_id, record.mod_id, *keys, modified or None, text)


def _with_parents(rows: Iterable[tuple[object, ...]], parents: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """Append to each row the keys of its parents, by canonical field."""
    for row in rows:
        fields = json.loads(str(row[-1]))
        keys = {name: key for name in parents if (key := key_of(fields.get(name)))}
        yield (*row, json.dumps(keys))


def _canonical(resolution: Resolution, record: FileMakerRecord) -> dict[str, Value]:
    """The record by canonical names, without what is empty or blank."""
    fields: dict[str, Value] = {}
    for canonical, candidates in resolution.feeds.items():
        for candidate in candidates:
            value = _value(resolution, record.fields, candidate)
            if not isinstance(value, str) or value.strip():
                fields[canonical] = value
                break
    return fields


def _value(resolution: Resolution, row: Mapping[str, Value], source: Field) -> Value:
    """The field's value; repetitions joined, so that none is lost in silence."""
    if len(source.repetitions) == 1 and source.name in row:
        return row[source.name]
    names = [_name_in(row, source.name, number) for number in source.repetitions]
    if not all(name in row for name in names):
        part = "" if len(names) == 1 else f" with its {len(names)} repetitions"
        raise FieldMissing(
            f"The layout {resolution.layout} showed the field {source.name}{part}, but its records came without it.",
            remedy="" if len(names) == 1 else _PLACE_ONCE.format(source.name, resolution.layout),
        )
    filled = [row[name] for name in names if row[name] != ""]
    if len(filled) <= 1:
        return filled[0] if filled else ""
    return GROUP_SEPARATOR.join(str(value) for value in filled)


def _name_in(row: Mapping[str, Value], field: str, number: int) -> str:
    """Return the name of a repetition. A place on the layout with the first one alone gives it without its number."""
    name = f"{field}({number})"
    return field if number == 1 and name not in row and field in row else name
