"""`dagster dev` and `dg dev`, as people start them: real processes, which keep to one code location."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from fm_pipeline.dicom.history.jobs import SENSOR
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.sandbox.stack.waiting import wait_until

PROGRAMS = Path(sys.executable).parent
WAYS = {
    "dagster dev": ["dagster", "dev"],
    "dagster dev -w": ["dagster", "dev", "-w", "workspace.yaml"],
    "dg dev": ["dg", "dev"],
}
SENSORS = """{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
    ... on PythonError { message }
    ... on RepositoryLocation { repositories { sensors {
        name sensorState { id selectorId status ticks(limit: 9) { status } }
} } } } } } } }"""
POLL_SECONDS = 2.0  # each question costs the web server some time of the processor
STOP = "mutation Stop($id: String!) { stopSensor(id: $id) { __typename } }"


class DagsterUI:
    """What a started Dagster says over GraphQL."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: str) -> dict[str, Any]:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(self._url, json={"query": query, "variables": variables}, timeout=20)
        data: dict[str, Any] = answer.json()["data"]
        return data

    def locations(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The states of the sensors of each code location, by names; nothing as long as nobody answers."""
        try:
            entries = self.ask(SENSORS)["workspaceOrError"]["locationEntries"]
        except (requests.RequestException, ValueError):
            return {}
        return {
            entry["name"]: {
                sensor["name"]: sensor["sensorState"]
                for repository in (entry["locationOrLoadError"] or {}).get("repositories", [])
                for sensor in repository["sensors"]
            }
            for entry in entries
        }


def ended_ticks(ui: DagsterUI) -> list[str]:
    """How the ticks of the sensor ended, of which there is one at least."""

    def ended() -> list[str]:
        ticks = ui.locations()["fm_pipeline"][SENSOR]["ticks"]
        return [tick["status"] for tick in ticks if tick["status"] != "STARTED"]

    assert wait_until(lambda: bool(ended()), 120, every_seconds=POLL_SECONDS)
    return ended()


@contextmanager
def started(command: Sequence[str], checkout: Path, environment: dict[str, str]) -> Iterator[DagsterUI]:
    """A Dagster that has loaded its code location; ended with Ctrl-C, as people do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = checkout / "dagster.log"
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            [str(PROGRAMS / command[0]), *command[1:], "-p", str(port), "-h", "127.0.0.1"],
            cwd=checkout,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        ui = DagsterUI(port)
        assert wait_until(
            lambda: process.poll() is not None or any(ui.locations().values()), 180, every_seconds=POLL_SECONDS
        )
        assert process.poll() is None, log.read_text("utf-8")
        yield ui
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_stopped_sensor_stays_stopped_however_dagster_is_started(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"  # without the .env of whoever works here, which Dagster would read
    checkout.mkdir()
    for name in ("pyproject.toml", "workspace.yaml", "fm_pipeline"):
        (checkout / name).symlink_to(PACKAGE_PARENT / name)
    (checkout / ".venv").symlink_to(sys.prefix)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n", "utf-8")
    environment = os.environ | {
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "HOME": str(tmp_path),
        "NEXUS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
    }
    found: dict[str, dict[str, str]] = {}
    for way, command in WAYS.items():
        with started(command, checkout, environment) as ui:
            if not found:  # the first one
                assert set(ended_ticks(ui)) == {"FAILURE"}, "a database that does not answer is red"
                ui.ask(STOP, id=ui.locations()["fm_pipeline"][SENSOR]["id"])
            found[way] = {name: sensors[SENSOR]["status"] for name, sensors in ui.locations().items()}
    assert found == {way: {"fm_pipeline": "STOPPED"} for way in WAYS}
