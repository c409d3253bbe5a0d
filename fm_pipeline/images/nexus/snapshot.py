"""Patients and images of Nexus as they were read, and whether they still are so: told by row versions.

To read all of them takes seconds in a large clinic. Whoever writes images needs to be certain under its locks, for
which the users wait, and the waterfall needs it for each of its small batches; mostly nobody has written since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.row_versions import Versions, read_horizon, read_shapes, read_versions
from fm_pipeline.db.table import Table
from fm_pipeline.images.nexus.image_index import ImageIndex, read_image_index
from fm_pipeline.images.nexus.patient_index import PatientIndex, read_patient_index
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.policy import BATCHES, IMAGES

_OWN_TABLES = ("crosswalk", "retired_patient_ids", "staged_file_links")


@dataclass(frozen=True)
class NexusSnapshot:
    """What was read, and by what it can be told later that all of it holds.

    Attributes:
        horizon: whoever wrote what is not in here has this transaction id or a later one.
        versions: rows of each table that was read, none of them written since then.
        shapes: see `read_shapes`.
    """

    patients: PatientIndex
    known: ImageIndex
    horizon: str
    versions: Mapping[Table, Versions]
    shapes: Mapping[Table, str]

    def refreshed(self, cursor: Cursor, catalogue: Catalogue, bulk_prefix: str) -> NexusSnapshot:
        """This very object if nobody has written to one of the tables, else all of it read anew.

        Writers that the caller's locks do not keep out may begin at once again, as after any reading.
        """
        tables = _tables(catalogue)
        if read_versions(cursor, tables, self.horizon) == self.versions and read_shapes(cursor, tables) == self.shapes:
            return self
        return read_snapshot(cursor, catalogue, bulk_prefix)


def read_snapshot(cursor: Cursor, catalogue: Catalogue, bulk_prefix: str) -> NexusSnapshot:
    """Read patients and images.

    The horizon comes first and the rows are counted before they are read: so a statement of READ COMMITTED may see
    more than the one before, and what it sees has a later transaction's id, or makes the number of rows another.
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
