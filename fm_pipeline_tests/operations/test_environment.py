"""`scripts/_environment`: how the scripts make `.venv`, and what a Ctrl-C meanwhile leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline_tests.support.waiting import wait_until

# What `uv` does, without the network: it makes an environment that has a Python, and names what it does. Nothing is
# installed, so that `scripts/demo` ends at once with an error of Python.
UV = """#!/bin/sh
case $1 in
venv) mkdir -p .venv/bin && ln -sf "$(command -v python3)" .venv/bin/python ;;
pip)
    for number in $(seq 110); do echo " + package$number==1"; done
    touch installing
    while [ -e wait ]; do sleep 0.05; done
    if [ -e fail ]; then echo "No solution found."; exit 1; fi ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the script only, and an `uv` that goes on while the file `wait` is there."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/_environment", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(PACKAGE_PARENT / name, tmp_path / name)
    (tmp_path / "scripts" / "made").write_text("#!/bin/sh\nset -eu\n. scripts/_environment\necho made\n")
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "uv").write_text(UV)
    (tmp_path / "programs" / "uv").chmod(0o755)
    (tmp_path / "temporary").mkdir()
    return tmp_path


def started(checkout: Path) -> subprocess.Popen[str]:
    environment = {"PATH": f"{checkout / 'programs'}:{os.environ['PATH']}", "TMPDIR": str(checkout / "temporary")}
    return subprocess.Popen(
        ["/bin/sh", "scripts/made"],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that a Ctrl-C reaches its children and not the tests
    )


def lives(group: int) -> bool:
    """Whether a process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_names_of_the_packages_are_not_printed_but_at_an_error(checkout: Path) -> None:
    with started(checkout) as making:
        said, _ = making.communicate(timeout=30)
    assert making.returncode == 0
    first, second, third = said.splitlines()
    assert first.startswith("Making .venv with Python 3")
    assert "about 1000 MB" in first
    assert second.startswith("Made .venv in ")
    assert third == "made"

    shutil.rmtree(checkout / ".venv")
    (checkout / "fail").touch()
    with started(checkout) as making:
        said, _ = making.communicate(timeout=30)
    assert making.returncode == 1
    assert said.endswith("No solution found.\n")
    assert list((checkout / "temporary").iterdir()) == []


@pytest.mark.parametrize(("times", "number", "code"), [(1, "SIGINT", 130), (2, "SIGINT", 130), (1, "SIGTERM", 143)])
def test_ctrl_c_ends_the_installer_and_the_next_start_begins_anew(
    checkout: Path, times: int, number: str, code: int
) -> None:
    (checkout / "wait").touch()
    with started(checkout) as making:
        wait_until((checkout / "installing").exists)
        for _ in range(times):
            os.killpg(making.pid, signal.Signals[number])
        said, _ = making.communicate(timeout=30)
    assert making.returncode == code
    assert said.splitlines()[-1].endswith("The environment .venv is not complete. Run the script again to make it.")
    wait_until(lambda: not lives(making.pid))
    assert list((checkout / "temporary").iterdir()) == []

    (checkout / "wait").unlink()
    left = checkout / ".venv" / "half a package"
    left.touch()
    with started(checkout) as making:
        said, _ = making.communicate(timeout=30)
    assert said.endswith("made\n")
    assert not left.exists()
