"""The reading half of the import sequence as one call, for the commands. The Dagster assets call the same parts.

Reads FileMaker, writes to the schema `fm_pipeline` only.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from pydantic import SecretStr

from fm_pipeline.errors import SettingsError
from fm_pipeline.filemaker.client import DataApiClient
from fm_pipeline.filemaker.extract import extract
from fm_pipeline.mapping.entities import ENTITIES
from fm_pipeline.mapping.profile import load_profile
from fm_pipeline.nexus.database import connect
from fm_pipeline.nexus.migrate import migrate
from fm_pipeline.settings import Settings
from fm_pipeline.staging.rules import load_rules
from fm_pipeline.staging.run import forget
from fm_pipeline.staging.side_by_side import OnStep, stage_all


class FileMakerAccount(NamedTuple):
    """Where FileMaker is, and who we are there."""

    url: str
    database: str
    username: str
    password: SecretStr


def need_filemaker(settings: Settings) -> FileMakerAccount:
    """What the settings say of FileMaker, before anything is begun that needs it.

    Raises:
        SettingsError: names each setting that is missing.
    """
    given = {name: getattr(settings, f"filemaker_{name}") for name in FileMakerAccount._fields}
    missing = [f"FILEMAKER_{name.upper()}" for name, value in given.items() if value is None]
    if missing:
        raise SettingsError(
            f"FileMaker is needed for this, and {' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not set.",
            meaning="Nothing was begun.",
            remedy="Set them in the environment or in .env; .env.example says what they mean.",
        )
    return FileMakerAccount(**given)


def open_client(settings: Settings) -> DataApiClient:
    """The FileMaker file that the settings name; nothing is sent yet.

    Raises:
        SettingsError: they name none.
    """
    account = need_filemaker(settings)
    return DataApiClient(
        account.url,
        account.database,
        account.username,
        account.password.get_secret_value(),
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
    need_filemaker(settings)
    profile = load_profile(settings.filemaker_profile)
    load_rules(settings.rules_file)  # a wrong one is told before FileMaker is read, not after
    migrate(url)
    with open_client(settings) as client, connect(url) as connection:
        for entity in ENTITIES:
            if entity not in profile.entities:
                forget(connection, entity)
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
