"""`fm-pipeline stack`, run as a command."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from dotenv import dotenv_values

from fm_pipeline.cli.main import main
from fm_pipeline.sandbox.stack.orthanc import Orthanc
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.sandbox.stack.stack import CLINIC_SETTINGS, Stack
from fm_pipeline.settings import ENV_FILE, load_settings


@pytest.fixture
def folder() -> Iterator[Path]:
    """A state folder with a blank in its name, which other system users can reach."""
    with tempfile.TemporaryDirectory(prefix="fm-pipeline test ") as name:
        yield Path(name) / "state"
        Stack(Path(name) / "state").down()


def fm_pipeline(*arguments: str) -> str:
    command = [sys.executable, "-m", "fm_pipeline", *arguments]
    return subprocess.run(  # noqa: S603
        command, cwd=PACKAGE_PARENT, capture_output=True, text=True, check=True
    ).stdout


def test_up_prints_settings_that_a_shell_and_a_dotenv_file_read_alike(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(fm_pipeline("stack", "up", "--state-dir", str(folder)))
    expected = Stack(folder).environment()
    assert dotenv_values(env_file) == expected
    shell = f"set -a; . {shlex.quote(str(env_file))}; exec {shlex.quote(sys.executable)} -c 'import os, json; "
    shell += "print(json.dumps(dict(os.environ)))'"
    sourced = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", shell], capture_output=True, text=True, check=True, env={"PATH": os.defpath}
    ).stdout
    assert json.loads(sourced).items() >= expected.items()
    for name in (*expected, ENV_FILE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert load_settings().nexus_database_url.get_secret_value() == expected["NEXUS_DATABASE_URL"]

    (folder / "hospital").mkdir()
    assert f"HOSPITAL_DATA_PATH={shlex.quote(str(folder / 'hospital'))}" in fm_pipeline(
        "stack", "up", "--state-dir", str(folder)
    )

    (folder / CLINIC_SETTINGS).write_text('{"FILEMAKER_PROFILE": "wep"}')
    assert "\nFILEMAKER_PROFILE=wep\n" in fm_pipeline("stack", "up", "--state-dir", str(folder)), "of a demo's clinic"

    rows = json.loads(fm_pipeline("stack", "status", "--json", "--state-dir", str(folder)))
    assert [(row["name"], row["alive"]) for row in rows] == [
        ("postgresql", True),
        ("s3", True),
        ("filemaker", True),
        ("mail", True),
        *[("orthanc", True)] * Orthanc.available(),
    ]
    fm_pipeline("stack", "down", "--state-dir", str(folder))
    assert not any(psutil.pid_exists(row["pid"]) for row in rows)
    assert "stopped" in fm_pipeline("stack", "status", "--state-dir", str(folder))


def test_a_state_folder_that_cannot_be_made_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(main, ["stack", "up", "--state-dir", str(tmp_path / "file" / "state")])
    assert result.exit_code == 1
    assert "cannot be made: Not a directory." in result.stderr
    assert "Give another folder with --state-dir." in result.stderr


def test_a_demo_whose_report_could_not_be_written_does_not_begin(tmp_path: Path) -> None:
    words = [
        "demo",
        "--once",
        "--state-dir",
        str(tmp_path / "demo"),
        "--report",
        str(tmp_path / "gone" / "report.json"),
    ]
    assert CliRunner().invoke(main, words).exit_code == 2
    assert not (tmp_path / "demo").exists()
