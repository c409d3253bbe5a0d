"""The reading half of the import sequence as one call, for the commands; `read_entity` is a Dagster asset too.

Reads FileMaker, writes to the schema `fm_pipeline` only.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect, require_utf8
from fm_pipeline.db.migrate import is_migrated, migrate
from fm_pipeline.entities.exports import export_options
from fm_pipeline.entities.profile import Profile, load_profile
from fm_pipeline.entities.rules import RECORDS_HIDDEN, Rule, load_rules
from fm_pipeline.filemaker.connect import open_door, require_source
from fm_pipeline.filemaker.data_api.door import DataApiDoor
from fm_pipeline.filemaker.door import Door
from fm_pipeline.filemaker.errors import RecordsHidden
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.table_policy import require_loadable_tables
from fm_pipeline.settings import Settings
from fm_pipeline.staging.extract import ExtractionResult, extract
from fm_pipeline.staging.inputs import is_staged_already
from fm_pipeline.staging.left_out import leave_out
from fm_pipeline.staging.origin import note_reading
from fm_pipeline.staging.parallel import OnStep, stage_all
from fm_pipeline.staging.read_changes import read_changes
from fm_pipeline.staging.run import forget, forget_others
from fm_pipeline.staging.unchanged_layouts import find_unchanged


def read_and_stage(
    settings: Settings,
    *,
    run_id: str | None = None,
    after_plan: bool = False,
    on_step: OnStep = lambda *_: None,
) -> None:
    """Extract every entity of the profile and build everything that a reimport loads.

    Args:
        run_id: kept with what is read.
        after_plan: for a reimport, which may pass over layouts as its settings say; see `read_entity`.
        on_step: called with the step's name, records done, and their number when it is known.

    Raises:
        PipelineError: of any kind; staging then holds what was whole before.
    """
    url = settings.nexus_database_url.get_secret_value()
    require_source(settings)
    profile = load_profile(settings.filemaker_profile)
    door = open_door(settings, export_options(profile))
    load_rules(settings.rules_file, profile.registry)  # fails before FileMaker is read, not after
    with door, connect(url) as connection:
        _prepare_database(connection, settings)
        for entity in profile.registry:
            on_entity = partial(on_step, f"read {entity}")
            read_entity(
                *(lambda: door, connection, profile, entity, settings),
                run_id=run_id,
                after_plan=after_plan,
                on_step=on_entity,
            )
    stage_all(settings, run_id=run_id, now=datetime.now(UTC), on_step=on_step)


def read_changes_and_stage(
    settings: Settings,
    *,
    run_id: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    on_step: OnStep = lambda *_: None,
) -> bool:
    """Do the same for a sync: read only what changed, if that can be proved, and stage only if anything differs.

    Args:
        now: the clock, with a time zone.

    Returns:
        Whether anything was staged.
    """
    url = settings.nexus_database_url.get_secret_value()
    profile = load_profile(settings.filemaker_profile)
    door = open_door(settings, export_options(profile))
    rules = load_rules(settings.rules_file, profile.registry)
    zone = ZoneInfo(settings.clinic_time_zone)
    with door, connect(url) as connection:
        _prepare_database(connection, settings)
        for entity in profile.registry:
            on_step(f"read {entity}", 0, None)
            started_at, changes = now(), None
            if entity in profile.entities:
                changes = read_changes(
                    *(door, connection, profile, entity),
                    now=started_at,
                    zone=zone,
                    page_size=settings.filemaker_page_size,
                )
            read = changes or read_entity(
                *(lambda: door, connection, profile, entity, settings),
                run_id=run_id,
                started_at=started_at,
                on_step=partial(on_step, f"read {entity}"),
            )
            if isinstance(read, ExtractionResult):
                _refuse_hidden_records(door, read.layout, rules[RECORDS_HIDDEN])
        if is_staged_already(connection, settings, profile, rules):
            return False
    stage_all(settings, run_id=run_id, now=now(), on_step=on_step)
    return True


def _refuse_hidden_records(door: Door, layout: str, rule: Rule) -> None:
    """Stop if the account may not see records: a sync would take them for deleted. A reimport has its preflight."""
    hidden = door.hidden_records(layout) if isinstance(door, DataApiDoor) else ""
    if hidden and rule.action == "stop":
        raise RecordsHidden(f"The account may not see {hidden} of the layout {layout}.", remedy=rule.remedy)


def _prepare_database(connection: Connection, settings: Settings) -> None:
    """Bring our schema up to date, but never make it in another database than Nexus': patients are read into it."""
    with connection.cursor() as cursor:
        require_utf8(connection)
        require_loadable_tables(read_catalogue(cursor, settings.nexus_schema))
        migrated = is_migrated(connection)
    connection.rollback()
    if not migrated:
        migrate(settings.nexus_database_url.get_secret_value())


def read_entity(
    door: Callable[[], Door],
    connection: Connection,
    profile: Profile,
    entity: str,
    settings: Settings,
    *,
    run_id: str | None,
    after_plan: bool = False,
    started_at: datetime | None = None,
    on_step: Callable[[int, int | None], None],
) -> ExtractionResult | str:
    """Read all records of one entity; what staging holds of an entity that is not read any more is dropped.

    Args:
        door: opens it, or gives the one that is open; called only if there is something to read.
        after_plan: pass over a layout that is as the plan read it, if REIMPORT_TRUSTS_UNCHANGED_LAYOUTS is on.
        started_at: with a time zone; now, if it is not given.
        on_step: called with records done, and their number when it is known.

    Returns:
        What was read, or is still what FileMaker has; or a sentence why nothing is.

    Raises:
        PipelineError: of any kind; staging then holds what was whole before.
    """
    forget_others(connection, profile)
    if entity not in profile.entities:
        forget(connection, entity)
        return "The profile has no layout for this entity."
    if reasons := leave_out(door(), connection, profile, entity, settings):
        return " ".join(reasons)
    on_step(0, None)  # before its first page, so that a failure names this step
    started_at = started_at or datetime.now(UTC)
    if after_plan and settings.reimport_trusts_unchanged_layouts:
        unchanged = find_unchanged(door(), connection, profile, entity, settings, started_at)
        if unchanged:
            return unchanged
    read = extract(
        door(),
        connection,
        profile,
        entity,
        run_id=run_id,
        now=lambda: datetime.now(UTC),
        page_size=settings.filemaker_page_size,
        on_progress=on_step,
    )
    note_reading(connection, read, started_at)
    return read
