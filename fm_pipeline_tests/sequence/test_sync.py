"""A sync merges what changed in FileMaker with what users did in Nexus."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from fm_pipeline.errors import PlanStop
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.sequence.sync import SyncResult, sync_staged
from fm_pipeline_tests.support.clinics import DATABASE, RUN_TIME, MigrationBench

NIGHT = RUN_TIME + dt.timedelta(days=1)
# Two patients with a record, in a fixed order.
RECORDS = """
SELECT s.nexus_id::text, s.record_id, s.filemaker_key FROM fm_pipeline.staged_patients s
JOIN patients p ON p.id = s.nexus_id ORDER BY s.record_id LIMIT 4
"""


@pytest.fixture
def synced(bench: MigrationBench, staged_once: object) -> MigrationBench:
    """The clinic after a reimport that stores what a sync compares with."""
    bench = bench.with_settings(filemaker_sync=True, filemaker_sync_changes=100)
    bench.reimport()
    return bench


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


def test_a_night_takes_changes_keeps_edits_and_waits_with_conflicts(synced: MigrationBench) -> None:
    (changed, edited, both, quiet) = synced.execute(RECORDS)
    before = synced.digests()
    assert sync(synced).status == "nothing_new"
    assert synced.digests() == before

    for patient, name in ((changed, "Fm One"), (both, "Fm Three")):
        synced.store.edit(DATABASE, "Patients", patient[1], {"coordinator_name": name})
    for patient, name in ((edited, "Nexus Two"), (both, "Nexus Three")):
        synced.execute("UPDATE patients SET coordinator_name = %s WHERE id = %s", name, patient[0])
    before = synced.digests()
    waits = sync(synced)
    assert (waits.status, [(each.nexus_id, each.column) for each in waits.conflicts]) == (
        "waits",
        [(both[0], "coordinator_name")],
    )
    assert synced.digests() == before
    done = confirmed(synced, waits)
    assert (done.status, done.report.changed_rows) == ("committed", 1)
    names = [coordinator(synced, each[0]) for each in (changed, edited, both)]
    assert names == ["Fm One", "Nexus Two", "Nexus Three"]
    assert {(each.nexus_id, each.decision) for each in done.decisions} == {(edited[0], "edit"), (both[0], "conflict")}

    with pytest.raises(PlanStop, match="No sync of that id waits"):
        confirmed(synced, waits)
    synced.store.edit(DATABASE, "Patients", quiet[1], {"coordinator_name": "Fm Four"})
    again = sync(synced, NIGHT + dt.timedelta(days=1))
    assert (again.status, again.report.changed_rows, again.conflicts) == ("committed", 1, [])
    assert {each.decision for each in again.decisions} == {"edit"}
    assert coordinator(synced, quiet[0]) == "Fm Four"
