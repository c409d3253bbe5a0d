"""Backups and restores as the tests make them."""

from __future__ import annotations

from pathlib import Path

from fm_pipeline.nexus.backup import make_backup
from fm_pipeline.nexus.restore import RestoreReport, restore
from fm_pipeline_tests.bench.clinics import RUN_TIME, MigrationBench


def backup(bench: MigrationBench) -> Path:
    """Make one; its folder."""
    return make_backup(bench.settings, now=RUN_TIME).folder


def give_back(
    bench: MigrationBench, folder: Path, *, confirm: str | None = None, dry_run: bool = False
) -> RestoreReport:
    """Restore it, confirmed by what the dry run shows, unless other words are given."""
    if confirm is None:
        shown = restore(bench.settings, folder, confirm="", dry_run=True)
        if dry_run:
            return shown
        confirm = shown.confirmation
    return restore(bench.settings, folder, confirm=confirm)
