"""One staged clinic for everything that a plan refuses, since a plan leaves it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fm_pipeline_tests.bench.clinics import DATABASE, MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.bench.postgres import DisposablePostgreSQL, empty_database

# A patient that FileMaker has, without files in Nexus, so that it may go.
WITHOUT_FILES = """
SELECT p.id, c.filemaker_key FROM patients p JOIN fm_pipeline.crosswalk c ON c.nexus_id = p.id AND c.entity = 'patient'
JOIN fm_pipeline.source_records s ON s.entity = 'patient' AND s.filemaker_key = c.filemaker_key
WHERE p.id NOT IN (SELECT object_id FROM documents_document WHERE object_id IS NOT NULL)
  AND p.id NOT IN (SELECT object_id FROM images_batch)
  AND p.id NOT IN (SELECT patient_id FROM xero_invoices WHERE patient_id IS NOT NULL)
ORDER BY p.id LIMIT 1
"""


@pytest.fixture(scope="session")
def staged(postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MigrationBench]:
    """One clinic, staged, for all that is refused: a plan leaves it as it was."""
    with (
        empty_database(postgresql) as url,
        migration_bench(url, tmp_path_factory.mktemp("unasked"), small_clinic()) as running,
    ):
        yield running.extract_and_stage()


@pytest.fixture
def gone(bench: MigrationBench) -> str:
    """Nexus id of a patient that has just been deleted in FileMaker, with everything that belongs to it."""
    bench.extract_and_stage()
    ((nexus_id, key),) = bench.execute(WITHOUT_FILES)
    for record_id, layout in bench.execute(
        "SELECT record_id, layout FROM fm_pipeline.source_records JOIN fm_pipeline.source_extractions USING (entity)"
        " WHERE patient_key = %s OR (entity = 'patient' AND filemaker_key = %s)",
        key,
        key,
    ):
        bench.store.delete(DATABASE, layout.removeprefix("API_"), record_id)
    return str(nexus_id)
