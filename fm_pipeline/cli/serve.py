"""`fm-pipeline serve`: the console with all that it needs, as one service."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import click

from fm_pipeline.db.migrate import migrate
from fm_pipeline.errors import SettingsError
from fm_pipeline.settings import load_settings


@click.command(name="serve")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port of the console.")
def command(port: int) -> None:
    """Serve the console behind its login, with Dagster's daemon and code server; starts again what dies.

    It listens on 127.0.0.1. SIGTERM or Ctrl-C stops all of it.
    """
    from fm_pipeline.serve.parts import environment, parts  # noqa: PLC0415
    from fm_pipeline.serve.supervisor import Supervisor  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = load_settings()
    home = os.environ.get("DAGSTER_HOME")
    if not home or not (Path(home) / "dagster.yaml").is_file():
        raise SettingsError(
            "DAGSTER_HOME names no folder with a dagster.yaml.",
            meaning="Dagster would lose its history when the process ends.",
            remedy="mkdir -p dagster_home && cp dagster.yaml dagster_home/, then DAGSTER_HOME=$PWD/dagster_home",
        )
    migrate(settings.nexus_database_url.get_secret_value())
    Supervisor(parts((settings.state_dir / "console").absolute(), port), environment(Path(home))).run()
