"""Imports of images as they are on record, without their images."""

from __future__ import annotations

from datetime import datetime

from fm_pipeline.db.audit import AuditOutcome, record
from fm_pipeline_tests.support.clinics import MigrationBench

_LIST = """
INSERT INTO fm_pipeline.waterfall_lists (id, run_id, listed_at, layout, records, source)
VALUES (gen_random_uuid(), %s, coalesce(%s, clock_timestamp()), 'Images', 1, 'file') RETURNING id::text, listed_at
"""
_WRITTEN = """
INSERT INTO fm_pipeline.waterfall_images (record_id, list_id, filemaker_key, state, container, image_id, linked_at)
SELECT coalesce(max(record_id), 0) + 1, %s, '', 'linked', 'image', gen_random_uuid(), %s
FROM fm_pipeline.waterfall_images
"""


def record_import(
    bench: MigrationBench, run_id: str, outcome: AuditOutcome | None, *, at: datetime | None = None, writes: bool = True
) -> None:
    """Record an import of images.

    Args:
        outcome: None if it was killed.
        at: when it has listed FileMaker's records and written; by default now.
        writes: whether it has written an image into Nexus.
    """
    for each in ("started", outcome) if outcome else ("started",):
        record(bench.database_url, actor="admin", action="image_import", outcome=each, run_id=run_id)  # type: ignore[arg-type]
    ((list_id, listed_at),) = bench.execute(_LIST, run_id, at)
    if writes:
        bench.execute(_WRITTEN, list_id, listed_at)
