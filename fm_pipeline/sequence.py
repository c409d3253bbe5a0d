"""The reading half of the import sequence as one call, for the commands. The Dagster assets call the same parts.

Reads FileMaker, writes to the schema `fm_pipeline` only.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from fm_pipeline.filemaker.client import DataApiClient
from fm_pipeline.filemaker.extract import extract
from fm_pipeline.mapping.entities import ENTITIES
from fm_pipeline.mapping.profile import load_profile
from fm_pipeline.nexus.database import connect
from fm_pipeline.nexus.migrate import migrate
from fm_pipeline.nexus.stage import OnStep, forget, stage_all
from fm_pipeline.settings import Settings


def open_client(settings: Settings) -> DataApiClient:
    """The FileMaker file that the settings name; nothing is sent yet."""
    return DataApiClient(
        settings.filemaker_url,
        settings.filemaker_database,
        settings.filemaker_username,
        settings.filemaker_password.get_secret_value(),
        ca_bundle=settings.filemaker_ca_bundle,
        timeout=settings.filemaker_timeout_seconds,
    )


def read_and_stage(settings: Settings, *, run_id: str | None = None, on_step: OnStep = lambda *_: None) -> None:
    """Extract every entity of the profile and build everything that a reimport loads.

    Args:
        run_id: kept with what is read.
        on_step: called with the step's name, records done, and their number when it is known.

    Raises:
        PipelineError: of any kind; staging then holds what was whole before.
    """
    url = settings.nexus_database_url.get_secret_value()
    profile = load_profile(settings.filemaker_profile)
    migrate(url)
    with open_client(settings) as client, connect(url) as connection:
        for entity in ENTITIES:
            if entity not in profile.entities:
                forget(connection, entity)
                continue
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
