"""Dagster's web server and daemon as services, for the demo and for tests in a browser.

They take the settings of the other services from our environment, so they are started after those.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import requests

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT, Service

WORKSPACE = PACKAGE_PARENT / "workspace.yaml"
INSTANCE = PACKAGE_PARENT / "dagster.yaml"


class _Dagster(Service):
    """What both share: DAGSTER_HOME with the project's own dagster.yaml."""

    @property
    def home(self) -> Path:
        """DAGSTER_HOME: runs, event logs, schedules."""
        return self.state_dir / "dagster"

    def prepare(self) -> None:
        super().prepare()
        self.home.mkdir(mode=0o700, exist_ok=True)
        # Copies, so that the command line names this stack's own files: that is how its processes are recognised.
        shutil.copyfile(INSTANCE, self.home / INSTANCE.name)
        shutil.copyfile(WORKSPACE, self.home / WORKSPACE.name)

    @property
    def working_folder(self) -> Path:
        """Not a checkout: Dagster lets `.env` in its working folder win over the environment, and that may name the
        real systems (`DagsterInstance.inject_env_vars`).
        """
        return self.home

    def process_environment(self) -> dict[str, str]:
        # The programs of this environment, and this package, must be found by the children that Dagster starts.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        ours = {"DAGSTER_HOME": str(self.home), "PATH": path, "PYTHONPATH": str(PACKAGE_PARENT)}
        return {**super().process_environment(), **ours}

    def settings(self) -> dict[str, str]:
        return {"DAGSTER_HOME": str(self.home)}


class DagsterWebserver(_Dagster):
    """The UI."""

    name = "dagster_webserver"

    def command(self) -> Sequence[str]:
        return [
            *(sys.executable, "-m", "dagster_webserver", "-w", str(self.home / WORKSPACE.name)),
            *("-h", "127.0.0.1", "-p", str(self.port)),
        ]

    def ready(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/server_info", timeout=5).ok
        except requests.RequestException:
            return False


class DagsterDaemon(_Dagster):
    """Takes runs from the queue, and ticks schedules and sensors. Its port is not used."""

    name = "dagster_daemon"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "dagster._daemon", "run", "-w", str(self.home / WORKSPACE.name)]

    def ready(self) -> bool:
        return self.log_says("Instance is configured with the following daemons")
