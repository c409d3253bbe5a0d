"""The report of a restore."""

from __future__ import annotations

from fm_pipeline.nexus.backup.restore import RestoreReport
from fm_pipeline.nexus.backup.restore_tables import RestoredTable


def test_rows_of_the_pipelines_own_tables_are_not_counted_as_rows_of_nexus() -> None:
    report = RestoreReport("a backup", "clinic 1", tables=[RestoredTable("patients", 3, deleted=1)])
    assert report.changed_words() == "1 row of Nexus"
    report.tables.append(RestoredTable("fm_pipeline.crosswalk", 9, updated=1200))
    assert report.changed_words() == "1 row of Nexus and 1,200 of the pipeline's own tables"
    assert report.changed_rows == 1201
