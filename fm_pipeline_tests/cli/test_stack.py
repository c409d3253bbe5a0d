"""`fm-pipeline stack`, run as a command."""

from __future__ import annotations

import json
import os
import shlex
import stat
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
from fm_pipeline.env_file import env_line
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.sandbox.stack.smtp import SmtpService
from fm_pipeline.sandbox.stack.stack import CLINIC_SETTINGS, Stack
from fm_pipeline.sandbox.stack.state import DEMO_FILE
from fm_pipeline.settings import ENV_FILE, load_settings
from fm_pipeline_tests.support.answering import answering

HOLDER = """
import sys
from pathlib import Path
from fm_pipeline.sandbox.stack.ownership import owned
with owned(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


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
    fm_pipeline("stack", "up", "--state-dir", str(folder), "--write-env", str(env_file))
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    printed = tmp_path / "printed"
    with printed.open("w") as output:
        up = [sys.executable, "-m", "fm_pipeline", "stack", "up", "--state-dir", str(folder)]
        subprocess.run(up, cwd=PACKAGE_PARENT, stdout=output, check=True)  # noqa: S603
    assert printed.read_text() == env_file.read_text()
    assert stat.S_IMODE(printed.stat().st_mode) == 0o600
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
    assert env_line("HOSPITAL_DATA_PATH", str(folder / "hospital")) in fm_pipeline(
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
        *[("orthanc", True)] * OrthancService.available(),
    ]
    assert fm_pipeline("stack", "down", "--state-dir", str(folder)).startswith(
        "Stopped: postgresql, s3, filemaker, mail"
    )
    assert fm_pipeline("stack", "down", "--state-dir", str(folder)) == "No server of this folder was running.\n"
    assert not any(psutil.pid_exists(row["pid"]) for row in rows)
    assert "stopped" in fm_pipeline("stack", "status", "--state-dir", str(folder))


def test_a_state_folder_that_cannot_be_made_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(main, ["stack", "up", "--state-dir", str(tmp_path / "file" / "state")])
    assert result.exit_code == 1
    assert "cannot be made: Not a directory." in result.stderr
    assert "Give another folder with --state-dir." in result.stderr


@pytest.mark.parametrize("kind", ["a file", "a link to nowhere", "a folder"])
def test_settings_are_never_written_over_what_is_there(tmp_path: Path, kind: str) -> None:
    env_file = tmp_path / ".env"
    if kind == "a file":
        env_file.write_text("FILEMAKER_PASSWORD=real\n")
    elif kind == "a folder":
        env_file.mkdir()
    else:
        env_file.symlink_to(tmp_path / "elsewhere")
    words = ["stack", "up", "--state-dir", str(tmp_path / "state"), "--write-env", str(env_file)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "It was left as it is, and nothing was started." in result.stderr
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "elsewhere").exists()
    assert kind != "a file" or env_file.read_text() == "FILEMAKER_PASSWORD=real\n"


def test_a_state_folder_that_no_env_file_can_name_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["stack", "up", "--state-dir", str(tmp_path / "${x}")])
    assert result.exit_code == 1
    assert "STATE_DIR" in result.stderr
    assert not (tmp_path / "${x}").exists()


@pytest.mark.parametrize("name", ["backups", "stack.json", "secrets.json"])
def test_a_demo_never_empties_a_folder_that_no_demo_has_made(tmp_path: Path, name: str) -> None:
    """`.state` is where the sandbox and the pipeline itself keep their files, backups too."""
    (tmp_path / name).write_text("{}")
    result = CliRunner().invoke(main, ["demo", "--once", "--state-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "is not empty, and no demo has made it" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_demo_does_not_begin_where_another_one_runs_or_servers_do(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    stack = Stack(folder, (SmtpService,))
    stack.up()
    (folder / DEMO_FILE).write_text("{}")
    words = ["demo", "--once", "--state-dir", str(folder)]
    try:
        (row,) = stack.status()
        refused = CliRunner().invoke(main, words)
        assert f"is in use: mail (process {row.pid})" in refused.stderr
        holder = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", HOLDER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PACKAGE_PARENT,
        )
        with holder:
            assert holder.stdout
            assert holder.stdout.readline() == b"held\n"
            refused = CliRunner().invoke(main, words)
            assert f"is in use by process {holder.pid}" in refused.stderr
            down = CliRunner().invoke(main, ["stack", "down", "--state-dir", str(folder)])
            assert f"is in use by process {holder.pid}" in down.stderr
            assert stack.status() == [row]
            holder.communicate(b"\n")
        assert (folder / DEMO_FILE).exists()
    finally:
        stack.down()


def test_a_demo_is_not_begun_on_a_port_that_another_program_has(tmp_path: Path) -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n{}") as port:
        result = CliRunner().invoke(main, ["demo", "--port", str(port), "--state-dir", str(tmp_path / "demo")])
    assert result.exit_code == 1
    assert f"Port {port} is taken by process {os.getpid()}" in result.stderr
    assert not (tmp_path / "demo").exists()


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
