"""Refuses settings that Dagster would take from another place than the console."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from dotenv import dotenv_values

from fm_pipeline.env_file import NAMED_FILE
from fm_pipeline.errors import SettingsError


def refuse_differing_settings(names: Collection[str]) -> None:
    """Refuse to serve if the daemon, the code server and the runs would have other settings than the console.

    In its own processes Dagster lets the `.env` of the current folder win over the environment. In all others the
    environment wins, and the file that FM_PIPELINE_ENV_FILE names takes the place of `.env`. With two databases, a run
    would change one while the console shows the other. Source: `DagsterInstance.inject_env_vars`.

    Args:
        names: of all settings, in upper case.

    Raises:
        SettingsError: names the settings, and no value.
    """
    file, named = Path(".env"), os.environ.get(NAMED_FILE)
    of_dagster = dotenv_values(file) if file.is_file() else {}
    ours = dotenv_values(named) if named else of_dagster
    differing = sorted(
        name
        for name, value in of_dagster.items()
        if name in names and (os.environ.get(name) or ours.get(name) or "") != (value or "")
    )
    if differing:
        raise SettingsError(
            f".env gives another value than {NAMED_FILE if named else 'the environment'} to {', '.join(differing)}.",
            meaning="The runs would use that of .env, and the console the other one. Nothing was started.",
            remedy="Give each setting one value, or start the service in a folder without a .env.",
        )
