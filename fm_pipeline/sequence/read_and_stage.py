"""The reading half of the import sequence as one call, for the commands. The Dagster assets call the same parts.

Reads FileMaker, writes to the schema `fm_pipeline` only.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.entities.rules import load_rules
from fm_pipeline.filemaker.connect import need_filemaker, open_client
from fm_pipeline.settings import Settings
from fm_pipeline.staging.extract import extract
from fm_pipeline.staging.left_out import leave_out
from fm_pipeline.staging.parallel import OnStep, stage_all
from fm_pipeline.staging.run import forget, forget_others


def read_and_stage(settings: Settings, *, run_id: str | None = None, on_step: OnStep = lambda *_: None) -> None:
    """Extract every entity of the profile and build everything that a reimport loads.

    Args:
        run_id: kept with what is read.
        on_step: called with the step's name, records done, and their number when it is known.

    Raises:
        PipelineError: of any kind; staging then holds what was whole before.
    """
    url = settings.nexus_database_url.get_secret_value()
    need_filemaker(settings)
    profile = load_profile(settings.filemaker_profile)
    load_rules(settings.rules_file, profile.registry)  # a wrong one is told before FileMaker is read, not after
    migrate(url)
    with open_client(settings) as client, connect(url) as connection:
        forget_others(connection, profile)
        for entity in profile.registry:
            if entity not in profile.entities:
                forget(connection, entity)
                continue
            if leave_out(client, connection, profile, entity, settings):
                continue
            on_step(f"read {entity}", 0, None)  # before its first page: the step that fails is the one that is named
            extract(
                client,
                connection,
                profile,
                entity,
                run_id=run_id,
                now=lambda: datetime.now(UTC),
                page_size=settings.filemaker_page_size,
                on_progress=partial(on_step, f"read {entity}"),
            )
    stage_all(settings, run_id=run_id, now=datetime.now(UTC), on_step=on_step)
