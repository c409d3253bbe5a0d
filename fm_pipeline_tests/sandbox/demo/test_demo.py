"""The demo as somebody runs it: a command that ends well, and that leaves nothing behind however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from fm_pipeline.nexus.reimport.report import ReimportReport, SourceOutcomes, TableChange
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.sandbox.stack.stack import Stack
from fm_pipeline.sequence.report_terminal import report_lines
from fm_pipeline_tests.sandbox.stack.processes import processes_of
from fm_pipeline_tests.support.clinics import RUN_TIME
from fm_pipeline_tests.support.waiting import wait_until

LIMIT_SECONDS = 900
# Nobody answers there, and a reimport by the clinic's own settings would not be what the oracle says.
REAL_SYSTEMS = """
NEXUS_DATABASE_URL=postgresql://nobody@127.0.0.1:1/nexus
FILEMAKER_URL=http://127.0.0.1:1
NEXUS_LETTERS=keep
NEXUS_REMINDERS=keep
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A state folder that other system users can reach."""
    with tempfile.TemporaryDirectory(prefix="fm-pipeline-demo-") as name:
        yield Path(name) / "state"
        Stack(Path(name) / "state").down()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of somebody who works with the real systems: its `.env` names them."""
    for name in ("fm_pipeline", "dagster.yaml", "workspace.yaml"):
        (tmp_path / name).symlink_to(PACKAGE_PARENT / name)
    (tmp_path / ".env").write_text(REAL_SYSTEMS, encoding="utf-8")
    return tmp_path


def started(checkout: Path, folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fm_pipeline", "demo", "--scale", "0.02", "--state-dir", str(folder), *options]
    return subprocess.Popen(  # noqa: S603
        command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_the_demo_holds_and_leaves_nothing_running_when_it_ends_or_is_killed(checkout: Path, folder: Path) -> None:
    report = checkout / "report.json"
    with started(checkout, folder, "--once", "--report", str(report)) as demo:
        printed, _ = demo.communicate(timeout=LIMIT_SECONDS)
    assert demo.returncode == 0, printed
    assert json.loads(report.read_text())["held"] is True
    assert "did not hold" not in printed
    assert processes_of(folder) == []

    with started(checkout, folder) as demo:
        wait_until(lambda: bool(processes_of(folder, "fm_pipeline.console.server")), LIMIT_SECONDS)
        demo.send_signal(signal.SIGKILL)
    wait_until(lambda: not processes_of(folder))


def test_its_report_fits_80_columns_with_every_digit() -> None:
    tables = ("patients", "appointments", "notes", "sms_messages", "letters_patientletter", "reminders")
    report = ReimportReport(
        "0",
        None,
        RUN_TIME,
        sources=[SourceOutcomes("contact_detail", 250_000, 250_000, 0, 0)],
        tables={name: TableChange(name, 250_000, 28_420, 28_420, 28_420, 28_420) for name in tables},
    )
    console = Console(width=80)
    with console.capture() as capture:
        console.print(*report_lines(report.as_dict()), sep="\n")
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in capture.get()
    assert sum(line.split()[-2:] == ["193,160", "250,000"] for line in lines) == len(tables)
