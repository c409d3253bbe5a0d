"""Dagster's web server and daemon as services, for the demo and for tests in a browser.

They read the settings of the other services from our environment, so they are started last.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import requests

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT, Service

# The only setting whose value Dagster's web server returns and that may contain our nonce.
_NONCE = """
local_artifact_storage:
  module: dagster._core.storage.root
  class: LocalArtifactStorage
  config: {{base_dir: "{folder}"}}
"""
# In the package, so that a wheel has them; at the top of a checkout are links to them.
WORKSPACE = PACKAGE_PARENT / "fm_pipeline" / "defs" / "workspace.yaml"
INSTANCE = PACKAGE_PARENT / "fm_pipeline" / "defs" / "dagster.yaml"


class DagsterService(Service):
    """What Dagster's services share: DAGSTER_HOME with the project's own dagster.yaml."""

    @property
    def home(self) -> Path:
        """DAGSTER_HOME: runs, event logs, schedules."""
        return self.state_dir / "dagster"

    def prepare(self) -> None:
        super().prepare()
        self.home.mkdir(mode=0o700, exist_ok=True)
        # Copies, so that the command line names this stack's own files, by which its processes are identified.
        (self.home / INSTANCE.name).write_text(self.instance() + _NONCE.format(folder=self._marked_folder), "utf-8")
        shutil.copyfile(WORKSPACE, self.home / WORKSPACE.name)

    def instance(self) -> str:
        """Return the content of dagster.yaml."""
        return INSTANCE.read_text("utf-8")

    @property
    def _marked_folder(self) -> Path:
        """Dagster's folder for small files. The web server returns its name as part of its instance."""
        return self.home / f"artifacts-{self.secrets.get('dagster_nonce')}"

    @property
    def working_folder(self) -> Path:
        """DAGSTER_HOME and not a checkout: `.env` in Dagster's working folder overrides the environment, and may name
        the real systems (`DagsterInstance.inject_env_vars`).
        """
        return self.home

    def process_environment(self) -> dict[str, str]:
        # The processes that Dagster starts must find this environment's programs and this package.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        ours = {"DAGSTER_HOME": str(self.home), "PATH": path, "PYTHONPATH": str(PACKAGE_PARENT)}
        return {**super().process_environment(), **ours}

    def settings(self) -> dict[str, str]:
        return {"DAGSTER_HOME": str(self.home)}


class DagsterWebserver(DagsterService):
    """Dagster's web server, the UI."""

    name = "dagster_webserver"

    def command(self) -> Sequence[str]:
        return [
            *(sys.executable, "-m", "dagster_webserver", "-w", str(self.home / WORKSPACE.name)),
            *("-h", "127.0.0.1", "-p", str(self.port)),
        ]

    def ready(self) -> bool:
        try:
            with requests.Session() as session:
                session.trust_env = False  # ignore the user's proxy
                query = {"query": "{ instance { info } }"}
                answer = session.post(f"http://127.0.0.1:{self.port}/graphql", json=query, timeout=5)
                return self._marked_folder.name in str(answer.json()["data"]["instance"]["info"])
        except (requests.RequestException, ValueError, LookupError, TypeError):  # another program, not a Dagster
            return False


class DagsterDaemon(DagsterService):
    """Dagster's daemon, which starts queued runs and runs schedules and sensors. Its port is not used."""

    name = "dagster_daemon"
    serves = False
    # The web server makes the tables of an empty DAGSTER_HOME. If both make them at once, one ends.
    starts_last = True

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "dagster._daemon", "run", "-w", str(self.home / WORKSPACE.name)]

    def ready(self) -> bool:
        return self.log_says("Instance is configured with the following daemons")
