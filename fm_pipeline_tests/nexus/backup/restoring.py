"""Backups and restores as the tests make them."""

from __future__ import annotations

import json
from pathlib import Path

from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.nexus.backup.restore import RestoreReport, restore
from fm_pipeline.nexus.backup.restore_state import NewerRowsPolicy
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench


def backup(bench: MigrationBench) -> Path:
    """Make one; its folder."""
    return make_backup(bench.settings, now=RUN_TIME).folder


def give_back(
    bench: MigrationBench,
    folder: Path,
    *,
    confirm: str | None = None,
    dry_run: bool = False,
    newer: NewerRowsPolicy = "stop",
) -> RestoreReport:
    """Restore it, confirmed by what the dry run shows, unless other words are given."""
    if confirm is None:
        shown = restore(bench.settings, folder, confirm="", dry_run=True, newer=newer)
        if dry_run:
            return shown
        confirm = shown.confirmation
    return restore(bench.settings, folder, confirm=confirm, newer=newer)


def a_new_patient(bench: MigrationBench, **columns: str) -> str:
    """Somebody whom users entered after the backup, and FileMaker does not know; the id."""
    ((patient,),) = bench.execute(
        "INSERT INTO patients SELECT (jsonb_populate_record(NULL::patients, to_jsonb(p)"
        " || jsonb_build_object('id', gen_random_uuid(), 'mrn', NULL,"
        " 'notes', NULL, 'filemaker_metadata', NULL) || %s::jsonb)).* FROM patients p ORDER BY id LIMIT 1"
        " RETURNING id::text",
        json.dumps(columns),
    )
    return str(patient)


def renumber_accounts(bench: MigrationBench) -> None:
    """Give every account another number, as if it had been deleted and made again; bookmarks go."""
    bench.execute(
        "DELETE FROM core_bookmark; SET CONSTRAINTS ALL DEFERRED; UPDATE auth_user SET id = id + 5000;"
        "UPDATE images_batch SET uploaded_by_id = uploaded_by_id + 5000;"
        "UPDATE images_image SET uploaded_by_id = uploaded_by_id + 5000; UPDATE audit_log SET user_id = user_id + 5000;"
        "UPDATE clinicians SET user_id = user_id + 5000; UPDATE auth_user_groups SET user_id = user_id + 5000;"
        "UPDATE integrations_gmailsettings SET updated_by_id = updated_by_id + 5000"
    )


def a_copy(bench: MigrationBench, table: str, **columns: object) -> str:
    """A new row of a table, like one that it has but for some columns; the id."""
    ((row,),) = bench.execute(
        f"INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, to_jsonb(t)"  # noqa: S608
        " || jsonb_build_object('id', gen_random_uuid())"
        f" || %s::jsonb)).* FROM (SELECT * FROM {table} ORDER BY id LIMIT 1) t RETURNING id::text",
        json.dumps(columns),
    )
    return str(row)
