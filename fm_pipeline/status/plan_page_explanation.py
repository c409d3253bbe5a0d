"""The explanation on a plan's page: what has changed since it was made, when, and by which run. It decides nothing.

The rule that a reimport refuses such a plan is `refuse_stale` in `fm_pipeline/nexus/reimport/stale_plan.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import database_name
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.reimport.plan import usable_plan
from fm_pipeline.nexus.reimport.plan_inputs import Inputs, deciding_settings, reread_inputs
from fm_pipeline.nexus.reimport.stale_plan import Change, find_changes
from fm_pipeline.nexus.table_names import BATCHES, IMAGES
from fm_pipeline.sequence.writing_runs import WritingRun, runs_since
from fm_pipeline.settings import Settings

_OF_FILEMAKER = ("filemaker", "files")
_IMAGE_RUNS = ("image_link", "image_import")


@dataclass(frozen=True)
class InputChange:
    """One kind of what has changed since a plan was made.

    Attributes:
        change: what, in words and by its tables.
        at: of FileMaker's data when it was last read, of rows of Nexus the newest `updated_at` since the plan. None if
            there is none: a deleted row leaves no time, and SQL by hand often sets none.
        read_by: the run that has read FileMaker's data last; None if it is not on record.
        runs: of the pipeline, since the plan, that write to these tables; the newest first.
    """

    change: Change
    at: datetime | None = None
    read_by: str | None = None
    runs: Sequence[WritingRun] = ()


def explain_changes(settings: Settings, plan_id: str, made_at: datetime) -> list[InputChange]:
    """Compare a plan with Nexus, the staged rows and the settings as they are now. Reads only, without locks.

    Args:
        made_at: when the plan was made.

    Returns:
        Nothing if the plan can be carried out.

    Raises:
        PlanStop: there is no such plan, or it has been carried out.
    """
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        content, _ = usable_plan(cursor, plan_id)
        planned = Inputs.from_dict(content)
        now = replace(planned, database=database_name(cursor), settings=deciding_settings(settings))
        try:
            catalogue = read_catalogue(cursor, settings.nexus_schema)
        except CatalogueStop as stop:
            return [InputChange(Change("schema", stop.what.rstrip(".")))]
        if not find_changes(planned, now):  # for another database or schema, nothing else needs to be read
            now = reread_inputs(cursor, planned, catalogue, settings, staged=True)
        return list(_explained(cursor, catalogue, find_changes(planned, now), made_at))


def _explained(
    cursor: Cursor, catalogue: Catalogue, changes: Sequence[Change], made_at: datetime
) -> Iterator[InputChange]:
    runs = runs_since(cursor, made_at) if changes else []
    for change in changes:
        at, read_by = None, None
        if change.of in _OF_FILEMAKER:
            at, read_by = _last_reading(cursor)
        elif change.of == "nexus":
            at = _written_at(cursor, catalogue, change.tables)
        if at and at <= made_at:
            at, read_by = None, None
        yield InputChange(change, at, read_by, [run for run in runs if _may_be_by(run, change)])


def _may_be_by(run: WritingRun, change: Change) -> bool:
    """Whether such a run writes what has changed; a link or an import of images writes images only."""
    if change.of == "nexus" and run.kind in _IMAGE_RUNS:
        return any(table.rpartition(".")[2] in (BATCHES, IMAGES) for table in change.tables)
    return change.of in ("files", "links", "nexus")


def _last_reading(cursor: Cursor) -> tuple[datetime | None, str | None]:
    cursor.execute("SELECT finished_at, run_id FROM fm_pipeline.source_extractions ORDER BY finished_at DESC LIMIT 1")
    return cursor.fetchone() or (None, None)


def _written_at(cursor: Cursor, catalogue: Catalogue, names: Sequence[str]) -> datetime | None:
    """Return the newest `updated_at` of tables of Nexus."""
    newest = []
    for table, columns in catalogue.columns.items():
        column = columns.get("updated_at")
        if str(table) in names and column and column.type == "timestamp with time zone":
            cursor.execute(sql.SQL("SELECT max(updated_at) FROM {}").format(table.identifier))
            newest += [at for (at,) in cursor.fetchall() if at]
    return max(newest, default=None)
