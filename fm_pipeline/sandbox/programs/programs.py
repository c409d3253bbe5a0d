"""Programs that no Python package has: Orthanc, Chromium, Redis. An installed one, or one unpacked into our folder.

    python -m fm_pipeline.sandbox.programs.programs [--install] orthanc chromium

Without `--install` nothing is installed, no service is started, and root is not needed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.programs.debian import install_packages, unpack_packages

_FONTS = """<?xml version="1.0"?>
<fontconfig><dir>/usr/share/fonts</dir><dir>{0}/files/usr/share/fonts</dir><cachedir>{0}/fonts</cachedir></fontconfig>
"""


@dataclass(frozen=True)
class Program:
    """A program, and where it is.

    Attributes:
        setting: the environment variable that names another executable.
        commands: its names on PATH.
        packages: of Debian.
        executable: within the unpacked packages.
        megabytes: on the disk, about.
    """

    name: str
    setting: str
    commands: Sequence[str]
    packages: Sequence[str]
    executable: str
    megabytes: int

    @property
    def given(self) -> str:
        """What the environment names; empty if nothing."""
        return os.environ.get(self.setting, "").strip()

    @property
    def folder(self) -> Path:
        """Where it is unpacked to."""
        return cache_folder() / self.name.lower()

    @property
    def libraries(self) -> str:
        """The folders of the libraries that were unpacked with it; empty if nothing was."""
        return os.pathsep.join(sorted({str(path.parent) for path in (self.folder / "files").rglob("*.so*")}))

    def find(self) -> str | None:
        """Return the path of the executable, if there is one."""
        if self.given:
            path = Path(self.given).expanduser().absolute()
            return str(path) if path.is_file() and os.access(path, os.X_OK) else None
        # Debian installs servers in /usr/sbin, which only root has in PATH.
        search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
        installed = next(filter(None, (shutil.which(command, path=search) for command in self.commands)), None)
        unpacked = self.folder / "run"
        return installed or (str(unpacked) if unpacked.exists() else None)

    def bring(self, console: Console, *, install: bool = False) -> str:
        """Return the path of the executable; unpack or install the packages if there is none.

        Raises:
            PipelineError: it cannot be had.
        """
        if self.given or self.find():
            return self.require()
        if shutil.which("apt-get") is None:
            raise PipelineError(
                f"{self.name} is not installed, and this machine has no apt-get to fetch it with.",
                remedy=f"Install it, or name its executable in {self.setting}.",
            )
        if install:
            with console.status(f"Installing {self.name} with apt-get …"):
                install_packages(self.packages)
        else:
            with console.status(f"Fetching {self.name} into {self.folder}, once (about {self.megabytes} MB) …"):
                self._unpack()
        return self.require()

    def require(self) -> str:
        """Return the path of the executable.

        Raises:
            PipelineError: there is none.
        """
        if found := self.find():
            return found
        if self.given:
            raise PipelineError(
                f"{self.setting} names {self.given}, which is no file that can be executed.",
                remedy=f"Set it to the executable of {self.name}, or not at all.",
            )
        raise PipelineError(
            f"{self.name} is not installed.",
            remedy=f"Install it (Debian: apt-get install {self.packages[0]}), or name it in {self.setting}.",
        )

    def _unpack(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be at it
            if self.find():
                return
            root = self.folder / "files"
            shutil.rmtree(root, ignore_errors=True)
            unpack_packages(self.packages, root)
            settings = {"LD_LIBRARY_PATH": self.libraries}
            if dictionary := next(root.glob("usr/share/**/dicom.dic"), None):
                settings["DCMDICTPATH"] = str(dictionary)
            if not Path("/etc/fonts/fonts.conf").exists():
                fonts = self.folder / "fonts.conf"
                fonts.write_text(_FONTS.format(self.folder), "utf-8")
                settings["FONTCONFIG_FILE"] = str(fonts)
            lines = [f'export {name}="{value}"' for name, value in settings.items()]
            run = self.folder / "run.partial"
            run.write_text("\n".join(["#!/bin/sh", *lines, f'exec "{root / self.executable}" "$@"', ""]), "utf-8")
            run.chmod(0o755)
            run.rename(self.folder / "run")


PROGRAMS: Mapping[str, Program] = {
    "orthanc": Program("Orthanc", "FM_PIPELINE_ORTHANC", ["Orthanc"], ["orthanc"], "usr/sbin/Orthanc", 150),
    "chromium": Program(
        "Chromium",
        "FM_PIPELINE_CHROMIUM",
        ["chromium", "chromium-browser", "google-chrome"],
        ["chromium", "fonts-dejavu-core", "fonts-noto-color-emoji", "libatomic1"],  # the last for Playwright's Node
        "usr/lib/chromium/chromium",
        700,
    ),
    # Celery's broker in scripts/kills-hosts.
    "redis": Program("Redis", "FM_PIPELINE_REDIS", ["redis-server"], ["redis-server"], "usr/bin/redis-server", 10),
}


def cache_folder() -> Path:
    """Return the folder for what is fetched once, in the user's folder of caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fm_pipeline"


def main() -> None:
    """Bring programs; the exit code is 1 if one cannot be had."""
    parser = argparse.ArgumentParser(description="Bring programs that no Python package has.")
    parser.add_argument("--install", action="store_true", help="install them with apt-get")
    parser.add_argument("names", nargs="+", choices=list(PROGRAMS))
    given = parser.parse_args()
    console = Console(stderr=True)
    missing = 0
    for name in given.names:
        try:
            PROGRAMS[name].bring(console, install=given.install)
        except PipelineError as error:
            console.print(f"{error}", highlight=False, soft_wrap=True)
            missing += 1
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
