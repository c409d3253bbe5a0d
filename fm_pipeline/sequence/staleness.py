"""What makes a plan stale, and when it changed: for somebody who reads the plan, before anything is confirmed.

The reimport itself refuses a stale plan: `refuse_stale` in `fm_pipeline/nexus/reimport/plan.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from fm_pipeline.settings import Settings

_PARTS = ("database", "schema", "settings", "staged", "target")


@dataclass(frozen=True)
class InputChange:
    """One kind of what has changed since a plan was made.

    Attributes:
        words: part of a sentence, as in the error for a stale plan.
        of_filemaker: whether it is FileMaker's data.
        at: of FileMaker's data when it was last read, of rows of Nexus the newest `updated_at` since the plan. None if
            there is none: a deleted row leaves no time, and SQL by hand often sets none.
    """

    words: str
    of_filemaker: bool = False
    at: datetime | None = None


def changes_since_plan(settings: Settings, plan_id: str, made_at: datetime) -> list[InputChange]:
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
            return [InputChange(stop.what.rstrip("."))]
        if not now.changes_since(planned):  # for another database or schema, nothing else needs to be read
            now = reread_inputs(cursor, planned, catalogue, settings, staged=True)
        return list(_changes(cursor, catalogue, planned, now, made_at))


def _changes(
    cursor: Cursor, catalogue: Catalogue, planned: Inputs, now: Inputs, made_at: datetime
) -> Iterator[InputChange]:
    for part in _PARTS:
        changed = replace(planned, **{part: getattr(now, part)})
        for words in changed.changes_since(planned):
            of_filemaker = part == "staged"
            at = _read_at(cursor) if of_filemaker else _written_at(cursor, catalogue, planned, changed)
            yield InputChange(words, of_filemaker, at if at and at > made_at else None)


def _read_at(cursor: Cursor) -> datetime | None:
    cursor.execute("SELECT max(finished_at) FROM fm_pipeline.source_extractions")
    return max((at for (at,) in cursor.fetchall() if at), default=None)


def _written_at(cursor: Cursor, catalogue: Catalogue, planned: Inputs, now: Inputs) -> datetime | None:
    """Return the newest `updated_at` of the tables of Nexus that differ."""
    newest = []
    for table, columns in catalogue.columns.items():
        column = columns.get("updated_at")
        if now.target.get(str(table)) == planned.target.get(str(table)) or column is None:
            continue
        if column.type == "timestamp with time zone":
            cursor.execute(sql.SQL("SELECT max(updated_at) FROM {}").format(table.identifier))
            newest += [at for (at,) in cursor.fetchall() if at]
    return max(newest, default=None)
