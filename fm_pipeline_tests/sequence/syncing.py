"""Syncs of the tests: when they run, which patients they change, and how they are called."""

from __future__ import annotations

import datetime as dt
from typing import Any

from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.sequence.sync import SyncResult, sync_staged
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench

NIGHT = RUN_TIME + dt.timedelta(days=1)
# Two patients with a record, in a fixed order.
RECORDS = """
SELECT s.nexus_id::text, s.record_id, s.filemaker_key FROM fm_pipeline.staged_patients s
JOIN patients p ON p.id = s.nexus_id ORDER BY s.record_id LIMIT 4
"""


def sync(bench: MigrationBench, now: dt.datetime = NIGHT, **options: Any) -> SyncResult:
    """Read FileMaker, stage, and sync."""
    bench.extract_and_stage()
    return sync_staged(bench.settings, now=now, actor="bench", **options)


def confirmed(bench: MigrationBench, result: SyncResult, **options: Any) -> SyncResult:
    """Let a sync that waits go on."""
    permission = Permission(result.id, result.confirmation, "bench")
    return sync_staged(bench.settings, now=NIGHT, actor="bench", permission=permission, **options)


def coordinator(bench: MigrationBench, nexus_id: str) -> str:
    ((name,),) = bench.execute("SELECT coordinator_name FROM patients WHERE id = %s", nexus_id)
    return str(name)
