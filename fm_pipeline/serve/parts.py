"""The processes of the service, and the files with which they start."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from fm_pipeline.errors import SettingsError

LOCATION, MODULE = "fm_pipeline", "fm_pipeline.definitions"
WORKSPACE, SOCKET = "workspace.yaml", "code.sock"
SOCKET_PATH_BYTES = 107  # the longest path of a Unix socket on Linux; macOS has 103
CODE_SERVER, SITE, DAEMON = "code server", "site", "daemon"


@dataclass(frozen=True)
class ServicePart:
    """One process.

    Attributes:
        name: in logs and on the health page.
        module: a Python module that is run as a program.
        arguments: of that program.
        stop_seconds: how long it may take to stop after SIGTERM; then it is killed.
        after: a socket that must accept connections before the part is started.
        descriptors: open files that it inherits.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    stop_seconds: float
    after: Path | None = None
    descriptors: tuple[int, ...] = ()

    @property
    def command(self) -> list[str]:
        """The program that runs it, and that ends it if the supervisor has been killed."""
        leash = [sys.executable, "-m", "fm_pipeline.serve.run_part", str(self.stop_seconds)]
        return [*leash, self.module, *self.arguments]


def parts(folder: Path, listening: int) -> list[ServicePart]:
    """Return the parts in the order in which they start, and write the workspace file that they share.

    Args:
        folder: private; the code server's socket is there. A port would let every account of this machine in.
        listening: file descriptor of the site's socket.

    Raises:
        SettingsError: the path of the folder is too long for a socket.
    """
    socket, workspace = folder / SOCKET, folder / WORKSPACE
    if len(os.fsencode(socket)) > SOCKET_PATH_BYTES:
        raise SettingsError(
            f"The path of STATE_DIR is too long: the socket {socket} may have {SOCKET_PATH_BYTES} bytes.",
            meaning="Nothing was started.",
            remedy="Name a folder with a shorter path in STATE_DIR.",
        )
    servers = [{"grpc_server": {"socket": str(socket), "location_name": LOCATION}}]
    workspace.write_text(yaml.safe_dump({"load_from": servers}), "utf-8")
    socket.unlink(missing_ok=True)  # of a code server that was killed; the folder is locked, so nobody listens there
    return [
        # A code server with runs does not stop before they have ended, so it is killed, and its runs go on.
        ServicePart(CODE_SERVER, "dagster", ("api", "grpc", "-m", MODULE, "-s", str(socket)), stop_seconds=5),
        # The site and the daemon wait for the code server, which makes the tables of an empty DAGSTER_HOME before it
        # listens: of two processes that make them at once, one ends. The site loads its modules first.
        ServicePart(
            SITE,
            "fm_pipeline.console.server",
            (str(workspace), str(listening), str(socket)),
            stop_seconds=10,
            descriptors=(listening,),
        ),
        ServicePart(DAEMON, "dagster._daemon", ("run", "-w", str(workspace)), stop_seconds=20, after=socket),
    ]


def environment(dagster_home: Path) -> dict[str, str]:
    """Return the environment of every part."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "DAGSTER_HOME": str(dagster_home), "PATH": path}
