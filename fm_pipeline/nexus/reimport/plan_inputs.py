"""Digests of everything that the result of a reimport depends on: read before the locks, confirmed under them.

Hashing takes a tenth of a second for 100,000 rows. So that no user waits for it, the digests are taken from a snapshot
before the tables are locked. Under the locks only the row versions are counted, which proves that a table is unchanged.
A table that has or may have changed is hashed again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.digest import Digest, table_digest
from fm_pipeline.db.queries import count, database_name
from fm_pipeline.db.row_versions import read_horizon, read_shapes, read_versions
from fm_pipeline.db.table import Table
from fm_pipeline.entities.registry import ENTITIES, staged
from fm_pipeline.errors import StagingStop
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.staged_registry import STAGED_ENTITIES, read_registry
from fm_pipeline.settings import Settings

# Each extraction and each build writes its row here, in the same transaction as everything else of it.
_BOOKS = ("source_extractions", "staged_builds")
# Of our own tables. Record ids differ when FileMaker's file was cloned, and mean nothing to Nexus.
_WITHOUT_MEANING = ("record_id", "created_at", "origin")


@dataclass(frozen=True)
class Inputs:
    """Everything that the result of a reimport depends on, as digests."""

    database: str
    patients: int
    schema: str
    staged: Mapping[str, Digest]
    target: Mapping[str, Digest]
    settings: Mapping[str, str]

    @property
    def confirmation(self) -> str:
        """The confirmation that a person has to type."""
        return f"{self.database} {self.patients}"

    def as_dict(self) -> dict[str, Any]:
        """Return the digests for JSON."""
        return {
            "database": self.database,
            "patients": self.patients,
            "schema": self.schema,
            "staged": {name: list(digest) for name, digest in self.staged.items()},
            "target": {name: list(digest) for name, digest in self.target.items()},
            "settings": dict(self.settings),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Inputs:
        """Parse the digests from JSON."""
        digests = {
            part: {name: Digest(*digest) for name, digest in content[part].items()} for part in ("staged", "target")
        }
        return cls(content["database"], content["patients"], content["schema"], **digests, settings=content["settings"])

    def with_target_of(self, planned: Inputs) -> Inputs:
        """Return these inputs with the rows of Nexus of a plan, so that only the others are compared."""
        return replace(self, patients=planned.patients, target=planned.target)


@dataclass(frozen=True)
class InputSnapshot:
    """Digests of a snapshot, and the row versions by which they are confirmed later.

    Attributes:
        inputs: without the digests.
        target: the tables of Nexus that may be touched.
        digests: of these, and of our own tables.
        shapes: of the same tables; see `read_shapes`.
        horizon: whoever writes after the snapshot has this transaction id or a later one.
        counted: the tables of which only the rows are counted.
    """

    database: str
    schema: str
    settings: Mapping[str, str]
    target: Collection[Table]
    digests: Mapping[Table, Digest]
    shapes: Mapping[Table, str]
    horizon: str
    counted: Collection[Table]

    @property
    def inputs(self) -> Inputs:
        """The inputs that a plan is tied to."""
        own = [table.name for table in self.digests if table.schema == "fm_pipeline" and table.name not in _BOOKS]
        target = {str(table): self.digests[table] for table in self.target}
        patients = next(digest.rows for table, digest in self.digests.items() if table.name == "patients")
        staged = {name: self.digests[_own(name)] for name in own}
        return Inputs(self.database, patients, self.schema, staged, target, self.settings)

    def confirmed(self, cursor: Cursor) -> InputSnapshot:
        """Return the snapshot with the current digests; inside the transaction, after the locks.

        Raises:
            StagingStop: FileMaker's records were extracted or staged again since.
        """
        tables = list(self.digests)
        shapes, versions = read_shapes(cursor, tables), read_versions(cursor, tables, self.horizon)
        unsure = [
            table
            for table in tables
            if versions[table] != (self.digests[table].rows, 0) or shapes[table] != self.shapes[table]
        ]
        now = replace(self, digests={**self.digests, **_digests(cursor, unsure, self.counted)})
        if any(now.digests[_own(name)] != self.digests[_own(name)] for name in _BOOKS):
            raise StagingStop(
                "FileMaker's records were read or staged again while this was being prepared.",
                meaning="Nothing was changed.",
                remedy="Start again when the other run has ended.",
            )
        return now


def read_inputs(
    cursor: Cursor, catalogue: Catalogue, target: Collection[Table], settings: Settings, *, counted: bool = False
) -> InputSnapshot:
    """Take the digests, inside a transaction that has one snapshot.

    Args:
        target: the tables of Nexus that the reimport may touch.
        counted: only count the rows of these. A sync that waits is not tied to them, because it is merged again.
    """
    tables = [*map(_own, (*staged_tables(cursor), *_BOOKS)), *target]
    only_counted = frozenset(target if counted else ())
    return InputSnapshot(
        database=database_name(cursor),
        schema=catalogue.fingerprint,
        settings=deciding_settings(settings),
        target=target,
        digests=_digests(cursor, tables, only_counted),
        shapes=read_shapes(cursor, tables),
        horizon=read_horizon(cursor),
        counted=only_counted,
    )


def reread_inputs(cursor: Cursor, planned: Inputs, catalogue: Catalogue, settings: Settings, *, staged: bool) -> Inputs:
    """Read the inputs of a plan again, without locks; the number of patients is the plan's.

    Args:
        staged: also FileMaker's data; else these are the plan's.
    """
    known = {str(table): table for table in catalogue.columns}
    return replace(
        planned,
        database=database_name(cursor),
        schema=catalogue.fingerprint,
        settings=deciding_settings(settings),
        staged={name: _digest(cursor, _own(name)) for name in staged_tables(cursor)} if staged else planned.staged,
        target={name: _digest(cursor, known[name]) for name in planned.target if name in known},
    )


def staged_tables(cursor: Cursor) -> list[str]:
    """Our tables that decide what a reimport does; how entities are staged is one where a profile adds something."""
    registry = read_registry(cursor)
    names = dict.fromkeys(entity.staged_table for entity in staged(registry))
    added = any(entity != ENTITIES.get(name) or entity.made for name, entity in registry.items())
    return [*names, "crosswalk", *([STAGED_ENTITIES.name] if added else [])]


def deciding_settings(settings: Settings) -> dict[str, str]:
    """Return the settings that decide what happens to rows."""
    return {
        "nexus_schema": settings.nexus_schema,
        "nexus_only_columns": settings.nexus_only_columns,
        "nexus_letters": settings.nexus_letters,
        "nexus_reminders": settings.nexus_reminders,
        "nexus_files_of_gone_patients": settings.nexus_files_of_gone_patients,
        "nexus_archive_patient": settings.nexus_archive_patient or "",
        "nexus_soft_references": settings.nexus_soft_references,
        "nexus_trigger_tables": settings.nexus_trigger_tables or "",
        "nexus_sync_edits": settings.nexus_sync_edits,
        "clinic_time_zone": settings.clinic_time_zone,
    }


def _own(name: str) -> Table:
    return Table("fm_pipeline", name)


def _digests(cursor: Cursor, tables: Collection[Table], counted: Collection[Table]) -> dict[Table, Digest]:
    return {table: (_counted if table in counted else _digest)(cursor, table) for table in tables}


def _counted(cursor: Cursor, table: Table) -> Digest:
    cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(table.identifier))
    return Digest(count(cursor), "")


def _digest(cursor: Cursor, table: Table) -> Digest:
    return table_digest(cursor, table, without=_WITHOUT_MEANING if table.schema == "fm_pipeline" else ())
