"""Ctrl-C in `stack up`, `demo` and `serve` at several moments, once and again and again: nothing of theirs is left."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fm_pipeline.console.service.part_states import read_part_states
from fm_pipeline.sandbox.stack.ports import free_port
from fm_pipeline.sandbox.stack.state import STACK_FILE
from fm_pipeline.serve.lock import LOCK_FILE
from fm_pipeline_tests.sandbox.stack.processes import interrupted, processes_of
from fm_pipeline_tests.support.waiting import wait_until

INTERRUPTED, TERMINATED = 130, 143
STOPPED = "The servers that this command had started were stopped. Run it again to start them."


@pytest.fixture(scope="module")
def top() -> Iterator[Path]:
    """A folder that other system users can reach."""
    with tempfile.TemporaryDirectory(prefix="fm-pipeline-ctrl-c-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def records(folder: Path) -> dict[str, Any]:
    """What the stack has on record, by service."""
    try:
        return dict(json.loads((folder / STACK_FILE).read_text("utf-8")))
    except FileNotFoundError:
        return {}


def runs(service: str) -> Callable[[Path], bool]:
    """The moment when a service has been started."""
    return lambda folder: records(folder).get(service, {}).get("pid") is not None


ONCE, AGAIN = False, True
# Of the same folder, one after the other: PostgreSQL's files are made once.
MOMENTS: list[tuple[Callable[[Path], bool], bool]] = [
    (Path.exists, AGAIN),
    (lambda folder: any(folder.glob("postgresql/new-*/data/base")), AGAIN),
    (runs("postgresql"), AGAIN),
    (runs("mail"), AGAIN),
    (runs("mail"), ONCE),
]


def test_ctrl_c_stops_the_servers_that_stack_up_has_started(top: Path) -> None:
    folder = top / "stack"
    for holds, again in MOMENTS:
        for half in folder.glob("postgresql/new-*"):  # else a moment holds before Python has begun to handle signals
            shutil.rmtree(half)
        code, said = interrupted("stack", "up", "--state-dir", str(folder), at=partial(holds, folder), again=again)
        assert (code, said) == (INTERRUPTED, f"\nInterrupted. {STOPPED}\n")
        assert processes_of(folder) == []
        assert [name for name, record in records(folder).items() if record["pid"]] == []
    code, said = interrupted(
        "stack", "up", "--state-dir", str(folder), at=partial(runs("postgresql"), folder), number=signal.SIGTERM
    )
    assert (code, said) == (TERMINATED, f"Terminated. {STOPPED}\n")
    assert processes_of(folder) == []


def test_ctrl_c_ends_a_demo_that_starts(top: Path) -> None:
    folder = top / "demo"
    words = ("demo", "--scale", "0.01", "--without", "dicom", "--state-dir", str(folder))
    code, said = interrupted(*words, at=partial(runs("s3"), folder), again=True)
    assert code == INTERRUPTED
    assert said == (
        "\nStopping what the demo has started: up to half a minute …\n"
        "\nInterrupted. What the demo had started was stopped. The next demo begins anew.\n"
    )
    assert processes_of(folder) == []


def has_parts(number: int) -> Callable[[Path], bool]:
    """The moment when so many parts of the service have been started."""
    return lambda folder: sum(part.pid is not None for part in read_part_states(folder / "state")) >= number


# With the exit code: as soon as the service runs, Ctrl-C is its regular end.
MOMENTS_OF_SERVE: dict[str, tuple[Callable[[Path], bool], bool, int]] = {
    "its folder is there": (lambda folder: (folder / "state" / "console").exists(), AGAIN, INTERRUPTED),
    "it has the lock": (lambda folder: (folder / "home" / LOCK_FILE).exists(), AGAIN, INTERRUPTED),
    "one part starts": (has_parts(1), AGAIN, 0),
    "two parts start": (has_parts(2), ONCE, 0),
}


@pytest.mark.parametrize("moment", MOMENTS_OF_SERVE)
def test_ctrl_c_ends_serve_and_all_its_parts(database_url: str, tmp_path: Path, moment: str) -> None:
    holds, again, code = MOMENTS_OF_SERVE[moment]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").touch()
    folders = {"DAGSTER_HOME": str(tmp_path / "home"), "STATE_DIR": str(tmp_path / "state")}
    settings = {"NEXUS_DATABASE_URL": database_url, **folders}
    words = ("serve", "--port", str(free_port()))
    ended, said = interrupted(*words, at=partial(holds, tmp_path), again=again, environment=settings)
    assert ended in ({code, INTERRUPTED} if again else {code}), said
    assert "Traceback" not in said
    assert not has_parts(1)(tmp_path)
    wait_until(lambda: processes_of(tmp_path) == [])
