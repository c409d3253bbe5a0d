"""The processes of the service, and the files with which they start."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from fm_pipeline.folders import make_private_folder

LOCATION, MODULE = "fm_pipeline", "fm_pipeline.definitions"
WORKSPACE = "workspace.yaml"


@dataclass(frozen=True)
class ServicePart:
    """One process: its name in logs and on the health page, and its command."""

    name: str
    command: tuple[str, ...]


def parts(folder: Path, port: int) -> list[ServicePart]:
    """Return the parts in the order in which they start, and write the workspace file that they share.

    Args:
        folder: private; the code server's socket is there. A port would let every account of this machine in.
        port: of the site.
    """
    make_private_folder(folder)
    socket, workspace = folder / "code.sock", folder / WORKSPACE
    servers = [{"grpc_server": {"socket": str(socket), "location_name": LOCATION}}]
    workspace.write_text(yaml.safe_dump({"load_from": servers}), "utf-8")
    python = sys.executable
    return [
        ServicePart("code server", (python, "-m", "dagster", "api", "grpc", "-m", MODULE, "-s", str(socket))),
        ServicePart("daemon", (python, "-m", "dagster._daemon", "run", "-w", str(workspace))),
        ServicePart("site", (python, "-m", "fm_pipeline.console.server", str(workspace), str(port))),
    ]


def environment(dagster_home: Path) -> dict[str, str]:
    """Return the environment of every part."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "DAGSTER_HOME": str(dagster_home), "PATH": path}
