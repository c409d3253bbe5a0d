"""The stand-in as a process: its command line, its end, and what survives a kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.raw import Raw
from fm_pipeline_tests.sandbox.filemaker.running import stand_in_process


def test_records_survive_a_kill_and_sessions_do_not(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    store = Store(state)
    store.create_database("Clinic")
    store.create_table("Clinic", "Patients", [FieldDefinition("id")])
    store.create_layout("Clinic", "API", "Patients", ["id"])
    store.close()
    with stand_in_process(state, "Clinic", "admin", "right") as (stand_in, process):
        client = Raw(stand_in.base_url, "Clinic")
        client.login()
        assert client.create("API", {"id": "P1"}).end == (200, "0")
        process.kill()
    with stand_in_process(state, "Clinic", "admin", "right") as (stand_in, process):
        again = Raw(stand_in.base_url, "Clinic", token=client.token)
        assert again.records("API").end == (401, "952")
        again.login()
        assert again.records("API").column("id") == ["P1"]
        again.session.close()
    client.session.close()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "set FILEMAKER_PASSWORD"),
        (["--password-file", "nowhere.txt"], "nowhere.txt"),
        (["--tls-cert", "only.pem"], "go together"),
    ],
)
def test_a_wrong_command_line_is_explained(tmp_path: Path, options: list[str], said: str) -> None:
    command = [sys.executable, "-m", "fm_pipeline.sandbox.filemaker", "--state-file", str(tmp_path / "s.sqlite")]
    ended = subprocess.run(  # noqa: S603 - our own command
        [*command, "--database", "Clinic", "--username", "admin", *options],
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
