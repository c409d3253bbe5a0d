"""A clinic whose records a sync has read before: edit them, read again, and look at what is held."""

from __future__ import annotations

import datetime as dt

from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline_tests.sequence.nights_clinic import Clinic
from fm_pipeline_tests.sequence.nights_model import Row
from fm_pipeline_tests.sequence.nights_systems import LAYOUTS
from fm_pipeline_tests.support.clinics import DATABASE, RUN_TIME

OLD = "2001-02-03T04:05:06"


def read(clinic: Clinic, days: float) -> bool:
    """Read so many days later; return whether anything was staged."""
    return read_changes_and_stage(clinic.bench.settings, now=lambda: RUN_TIME + dt.timedelta(days=days))


def first(clinic: Clinic, kind: str) -> Row:
    """The oldest record of a kind."""
    return next(clinic.model.of(kind))


def edit(clinic: Clinic, row: Row, field: str, value: str, modified: str) -> None:
    """Edit a record as a user, or as a script that does not touch the time of its modification."""
    clinic.bench.store.edit(DATABASE, LAYOUTS[row.kind], row.record_id, {field: value, "modified": modified})


def known(clinic: Clinic, kind: str, field: str) -> dict[int, str]:
    """What we hold of the records of a kind."""
    return dict(
        clinic.bench.execute(
            "SELECT record_id, fields ->> %s FROM fm_pipeline.source_records WHERE entity = %s", field, kind
        )
    )


def rename_file(store: Store, name: str) -> None:
    """Offer the only file of a server under another name, as a backup that was not renamed."""
    with store.transaction() as db:
        db.execute("UPDATE file SET name = ?", (name,))
        for table in ("account", "fm_table", "occurrence", "layout", "script"):
            db.execute(f"UPDATE {table} SET file = ?", (name,))  # noqa: S608  # our own names
