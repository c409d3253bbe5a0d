"""A snapshot of patients and images of Nexus, and a check by row versions whether it is still valid.

Reading all of them takes seconds in a large clinic. The writer needs a valid snapshot while it holds locks and users
wait, and the import needs one for each small batch. Mostly the tables have not changed in between, or the import has
added its own last batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.row_versions import Versions, later_than, read_horizon, read_shapes, read_versions
from fm_pipeline.db.table import Table
from fm_pipeline.images.nexus.image_index import ImageIndex, read_additions, read_image_index
from fm_pipeline.images.nexus.patient_index import PatientIndex, read_patient_index
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.table_names import BATCHES, IMAGES

_OWN_TABLES = ("crosswalk", "retired_patient_ids", "staged_file_links")


@dataclass(frozen=True)
class NexusSnapshot:
    """What was read, and what is needed to check that it is still valid.

    Attributes:
        horizon: later writes have this transaction id or a later one.
        versions: row counts of each table, without rows written since the horizon.
        shapes: see `read_shapes`.
    """

    patients: PatientIndex
    known: ImageIndex
    horizon: str
    versions: Mapping[Table, Versions]
    shapes: Mapping[Table, str]

    def refreshed(self, cursor: Cursor, catalogue: Catalogue, bulk_prefix: str) -> NexusSnapshot:
        """Return this object if none of the tables has changed, otherwise a new snapshot.

        If images were only added, as the import itself does with each batch, only these are read. Writers that the
        caller's locks do not exclude may change the tables again at once.
        """
        tables = _tables(catalogue)
        horizon = read_horizon(cursor)
        versions, shapes = read_versions(cursor, tables, self.horizon), read_shapes(cursor, tables)
        if (versions, shapes) == (self.versions, self.shapes):
            return self
        if shapes == self.shapes and self._has_only_additions(cursor, catalogue, versions):
            known = read_additions(cursor, catalogue, bulk_prefix, self.known, self.horizon)
            rows = {table: Versions(count, 0) for table, (count, _) in versions.items()}
            if known and len(known.batches) == rows[catalogue.table(BATCHES)].rows:
                return replace(self, known=known, horizon=horizon, versions=rows)
        return read_snapshot(cursor, catalogue, bulk_prefix)

    def _has_only_additions(self, cursor: Cursor, catalogue: Catalogue, versions: Mapping[Table, Versions]) -> bool:
        """Whether `read_additions` may be tried; a batch is changed with each image that is added to it."""
        growing = {catalogue.table(IMAGES), Table("fm_pipeline", "crosswalk")}
        if not all(
            versions[table].only_adds_to(before) if table in growing else versions[table] == before
            for table, before in self.versions.items()
            if table != catalogue.table(BATCHES)
        ):
            return False
        cursor.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM fm_pipeline.crosswalk WHERE entity = 'patient' AND {})").format(
                later_than(self.horizon)
            )
        )
        return cursor.fetchone() == (False,)


def read_snapshot(cursor: Cursor, catalogue: Catalogue, bulk_prefix: str) -> NexusSnapshot:
    """Read patients and images.

    The horizon is read first, and rows are counted before they are read. In READ COMMITTED a later statement may see
    more than an earlier one; such rows have a later transaction id, or change the number of rows.
    """
    tables = _tables(catalogue)
    horizon = read_horizon(cursor)
    versions = {table: Versions(rows, 0) for table, (rows, _) in read_versions(cursor, tables, horizon).items()}
    shapes = read_shapes(cursor, tables)
    patients, known = read_patient_index(cursor, catalogue), read_image_index(cursor, catalogue, bulk_prefix)
    return NexusSnapshot(patients, known, horizon, versions, shapes)


def _tables(catalogue: Catalogue) -> Sequence[Table]:
    """Every table that `read_patient_index` and `read_image_index` read."""
    nexus = [catalogue.table(name) for name in ("patients", BATCHES, IMAGES)]
    return [*nexus, *(Table("fm_pipeline", name) for name in _OWN_TABLES)]
