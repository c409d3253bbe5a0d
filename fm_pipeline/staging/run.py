"""Staging as the runs use it: take over known ids, build an entity, check what is staged."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.locks import limit_lock_waits
from fm_pipeline.db.queries import count
from fm_pipeline.entities.order import sources
from fm_pipeline.entities.profile import Profile, load_profile
from fm_pipeline.entities.registry import ENTITIES
from fm_pipeline.entities.rules import load_rules
from fm_pipeline.errors import StagingStop
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.crosswalk import fill_crosswalk
from fm_pipeline.nexus.profile_fit import fit_registry
from fm_pipeline.nexus.reimport.files_of_gone_patients import FilesOfGonePatients
from fm_pipeline.nexus.reimport.report import SourceOutcomes
from fm_pipeline.nexus.staged_registry import drop_staged, read_registry, without_left_out
from fm_pipeline.settings import Settings
from fm_pipeline.staging.build import build
from fm_pipeline.staging.check import Broken, check_staging, outcomes_of
from fm_pipeline.staging.origin import read_extractions


def fill_the_crosswalk(connection: Connection, settings: Settings) -> tuple[dict[str, int], int]:
    """Take over the ids that Nexus knows, and drop what the profile no longer has.

    Returns:
        New rows by entity, and how many rows the crosswalk has.
    """
    profile = load_profile(settings.filemaker_profile)
    with limit_lock_waits(connection, settings.nexus_lock_timeout_seconds), connection.cursor() as cursor:
        forget_others(connection, profile)
        catalogue = read_catalogue(cursor, settings.nexus_schema)
        new = fill_crosswalk(
            connection, catalogue, fit_registry(cursor, catalogue, without_left_out(cursor, profile.registry)).registry
        )
        cursor.execute("SELECT count(*) FROM fm_pipeline.crosswalk")
        return new, count(cursor)


def stage(
    connection: Connection,
    entity: str,
    settings: Settings,
    *,
    run_id: str | None,
    now: datetime,
    on_progress: Callable[[int, int], None] = lambda *_: None,
    only_changed: bool = True,
    catalogue: Catalogue | None = None,
) -> SourceOutcomes:
    """Build one staged entity; in a transaction of its own, so that a failure leaves the earlier build whole.

    Args:
        on_progress: called with the number of records read and the number that there are.
        only_changed, catalogue: see `build`.

    Returns:
        How the source rows of the entity ended.

    Raises:
        LockStop: another run stages at the same time, and does not end.
    """
    registry = load_profile(settings.filemaker_profile).registry
    with limit_lock_waits(connection, settings.nexus_lock_timeout_seconds):
        built = build(
            connection,
            entity,
            rules=load_rules(settings.rules_file, registry),
            run_id=run_id,
            now=now,
            time_zone=settings.clinic_time_zone,
            nexus_schema=settings.nexus_schema,
            registry=registry,
            on_progress=on_progress,
            only_changed=only_changed,
            catalogue=catalogue,
        )
    return next(outcomes_of(each) for each in built.summaries if each.entity == entity)


def check_staged(
    connection: Connection, settings: Settings, entities: Collection[str] | None = None, *, files: bool = True
) -> list[Broken]:
    """Refuse staged rows that must not be loaded, by the clinic's rules; see `check_staging`.

    Args:
        files: also because of files whose patient would be deleted.

    Raises:
        StagingStop: lists everything that stops.
    """
    with connection.cursor() as cursor:
        rules = load_rules(settings.rules_file, read_registry(cursor))
    decided = FilesOfGonePatients.of(settings) if files else None
    return check_staging(connection, entities, rules=rules, nexus_schema=settings.nexus_schema, files=decided)


def is_extracted(connection: Connection, profile: Profile, entity: str) -> bool:
    """Whether there are records to build an entity from; False only where the profile has no layout for it.

    Raises:
        StagingStop: the profile has one, and it, or the patients and their contact details, was never read.
    """
    with connection.cursor() as cursor:
        extractions = read_extractions(cursor)
    registry = profile.registry
    needed = dict.fromkeys([entity, *(name for name in registry if name in sources(registry, entity))])
    if missing := [name for name in needed if name in profile.entities and name not in extractions]:
        raise StagingStop(
            f"FileMaker's records of {', '.join(missing)} have never been read into this database.",
            meaning="Nothing was staged. Nexus is unchanged.",
            remedy="Launch plan_reimport (or fm-pipeline plan), which reads and stages in the right order; in the"
            " graph, materialize the assets filemaker_* before the staged ones.",
        )
    return entity in extractions


def forget(connection: Connection, entity: str) -> None:
    """Drop what an earlier profile brought of an entity that this one does not have; commits.

    Otherwise rows of long ago would be loaded again.
    """
    shipped = ENTITIES.get(entity)
    with connection.cursor() as cursor:
        for table in (
            *("source_extractions", "source_records", "staged_builds", "staged_outcomes", "staged_findings"),
            *(("staged_file_links",) if entity in ("document", "image") else ()),
        ):
            cursor.execute(
                sql.SQL("DELETE FROM {} WHERE entity = %s").format(sql.Identifier("fm_pipeline", table)), (entity,)
            )
        if shipped and shipped.table and not shipped.made:
            cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier("fm_pipeline", shipped.staged_table)))
        drop_staged(cursor, entity)
    connection.commit()


def forget_others(connection: Connection, profile: Profile) -> None:
    """Drop every entity that an earlier profile added and that neither this one nor the pipeline knows; commits."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT entity FROM fm_pipeline.staged_entities UNION SELECT entity FROM fm_pipeline.source_extractions"
        )
        known = [row[0] for row in cursor.fetchall()]
    for name in known:
        if name not in profile.registry:
            forget(connection, name)


def why_left_out(connection: Connection, entity: str) -> list[str]:
    """Why the last extraction left an entity out as a whole; nothing where it did not."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT left_out FROM fm_pipeline.staged_entities WHERE entity = %s AND definition IS NULL", (entity,)
        )
        row = cursor.fetchone()
    return list(row[0]) if row else []
