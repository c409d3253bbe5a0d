"""`fm-pipeline serve`: the console with all that it needs, as one service."""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack
from pathlib import Path

import click

from fm_pipeline.errors import SettingsError

ANSWER_SECONDS = 2.0


@click.command(name="serve")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port of the console.")
def command(port: int) -> None:
    """Serve the console behind its login, with Dagster's daemon and code server; restarts a part that dies.

    It listens on 127.0.0.1. SIGTERM or Ctrl-C stops all of it, and runs go on. SIGHUP restarts its parts.
    """
    from fm_pipeline.console.database import prepare_schema
    from fm_pipeline.console.service.part_states import write_part_states
    from fm_pipeline.db.migrate import migrate
    from fm_pipeline.folders import make_private_folder
    from fm_pipeline.serve.differing_settings import refuse_differing_settings
    from fm_pipeline.serve.instance_file import differing_parts
    from fm_pipeline.serve.listening import HOST, accepts, answers, listen
    from fm_pipeline.serve.lock import locked
    from fm_pipeline.serve.notify import longer_start
    from fm_pipeline.serve.parts import SOCKET, environment, parts
    from fm_pipeline.serve.supervisor import Supervisor
    from fm_pipeline.settings import Settings, load_settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s serve: %(message)s", datefmt="%Y-%m-%d %H:%M:%S %z")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings = load_settings()
    refuse_differing_settings([each.upper() for each in Settings.model_fields])
    home = _dagster_home()
    if differing := differing_parts(home / "dagster.yaml"):
        logging.warning(
            "dagster.yaml in DAGSTER_HOME is not that of this release: %s differ. If this is not meant, copy the"
            " release's file there (docs/operations.md, Upgrade).",
            ", ".join(differing),
        )
    folder = (settings.state_dir / "console").resolve()
    try:
        make_private_folder(folder)
    except OSError as error:
        raise SettingsError(
            f"The folder {folder} cannot be made: {error.strerror}.",
            meaning="Nothing was started.",
            remedy="STATE_DIR must name a folder that belongs to the user of the service, or one that it can make.",
        ) from None
    with ExitStack() as stack:
        # The locks come first: parts of a service that was killed hold the port too, until they have ended.
        locks = [stack.enter_context(locked(each)) for each in dict.fromkeys((folder, home))]
        listening = stack.enter_context(listen(port))
        with longer_start():
            migrate(settings.nexus_database_url.get_secret_value())
            prepare_schema(settings)
        # One clock for the log: Django gives the site this zone, and the other parts would have that of the machine.
        os.environ["TZ"] = settings.clinic_time_zone
        time.tzset()
        Supervisor(
            parts(folder, listening.fileno()),
            environment(home),
            address=f"http://{HOST}:{port}",
            locks=locks,
            is_ready=lambda: accepts(str(folder / SOCKET)) and answers(port, ANSWER_SECONDS),
            publish=lambda states: write_part_states(folder, states),
        ).run()


def _dagster_home() -> Path:
    home = os.environ.get("DAGSTER_HOME")
    if not home or not (Path(home) / "dagster.yaml").is_file():
        raise SettingsError(
            "DAGSTER_HOME names no folder with a dagster.yaml.",
            meaning="Dagster would lose its history when the process ends.",
            remedy="mkdir -p dagster_home && cp dagster.yaml dagster_home/, then DAGSTER_HOME=$PWD/dagster_home",
        )
    return Path(home).resolve()
