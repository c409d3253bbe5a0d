"""Debian packages in a folder of ours, with apt's own tools and keys, from where this machine's apt has them.

    python -m fm_pipeline.sandbox.programs.debian [--suite SUITE] FOLDER PACKAGE...

Nothing is installed, no service is started, and root is not needed.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from fm_pipeline.errors import PipelineError

_LONGEST_SECONDS = 900
# apt's state is our own, so that neither its locks nor its lists of packages are touched. What is installed counts.
_APT = """
Dir::State::Lists "{0}/lists";
Dir::Cache "{0}/cache";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::Languages "none";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Debug::NoLocking "true";
"""
# Another release: nothing counts as installed, so that even the C library comes.
_APT_OF_A_SUITE = """
Dir::Etc::SourceList "{0}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::status "{0}/status";
"""


def unpack_packages(packages: Sequence[str], root: Path, *, suite: str = "") -> None:
    """Download Debian packages with what they need, and unpack them.

    Args:
        packages: names; `name=version` for another version than the newest. They may exclude each other.
        root: folder to unpack into; made if it is missing.
        suite: another Debian release, for example `trixie`; then all that they need comes along.

    Raises:
        PipelineError: apt or dpkg failed.
    """
    with tempfile.TemporaryDirectory(prefix="fm_pipeline-apt-") as name:
        folder = Path(name)
        archives = folder / "cache" / "archives"
        for made in (folder / "lists" / "partial", archives / "partial", root):
            made.mkdir(parents=True, exist_ok=True)
        configuration = _APT + (_APT_OF_A_SUITE if suite else "")
        (folder / "apt.conf").write_text(configuration.format(folder), "utf-8")
        if suite:
            (folder / "sources.list").write_text(f"deb {_mirror()} {suite} main\n", "utf-8")
            (folder / "status").touch()
        apt = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
        _run(["apt-get", "-qq", "update"], env=apt)
        needed = dict.fromkeys(packages)
        plain = {package.partition("=")[0] for package in packages}
        for package in packages:
            plan = _run(["apt-get", "--simulate", "install", package], env=apt)
            names = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
            needed |= dict.fromkeys(each for each in names if each not in plain)
        _run(["apt-get", "-qq", "download", *needed], env=apt, cwd=archives)
        for archive in sorted(archives.glob("*.deb")):
            _run(["dpkg", "-x", str(archive), str(root)])


def _mirror() -> str:
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    targets = ["Created-By: Packages", f"Codename: {codename}"]
    sources = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", *targets])
    if not sources.split():
        raise PipelineError(
            f"apt has no list of packages of {codename} yet.", remedy="Run apt-get update, then start again."
        )
    return f"[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {sources.split()[0]}"


def install_packages(packages: Sequence[str]) -> None:
    """Install Debian packages, as root or by sudo.

    Raises:
        PipelineError: apt failed.
    """
    root = [] if os.geteuid() == 0 else ["sudo"]
    _run([*root, "apt-get", "-qq", "update"])
    _run([*root, "apt-get", "-qq", "--yes", "--no-install-recommends", "install", *packages])


def _run(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(  # noqa: S603  # ours
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LONGEST_SECONDS,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["nothing was said"]
        raise PipelineError(
            f"{' '.join(command[:2])} failed: {said[-1]}",
            remedy="Run apt-get update, look whether this machine reaches its Debian mirror, then start again.",
        )
    return done.stdout


def main() -> None:
    """Unpack packages."""
    parser = argparse.ArgumentParser(description="Unpack Debian packages, with what they need, into a folder.")
    parser.add_argument("--suite", default="", help="another Debian release; then nothing counts as installed")
    parser.add_argument("folder", type=Path)
    parser.add_argument("packages", nargs="+", metavar="PACKAGE")
    given = parser.parse_args()
    unpack_packages(given.packages, given.folder, suite=given.suite)


if __name__ == "__main__":
    main()
