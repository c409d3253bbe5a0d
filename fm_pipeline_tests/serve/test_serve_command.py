from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fm_pipeline.cli.serve import command
from fm_pipeline.env_file import NAMED_FILE
from fm_pipeline.errors import PipelineError, SettingsError
from fm_pipeline.sandbox.stack.ports import free_port
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP
from fm_pipeline.serve.differing_settings import refuse_differing_settings
from fm_pipeline.serve.instance_file import OURS, differing_parts
from fm_pipeline.serve.lock import LOCK_FILE, locked
from fm_pipeline.serve.notify import longer_start
from fm_pipeline.serve.parts import CODE_SERVER, DAEMON, SITE, SOCKET, parts


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DAGSTER_HOME, and settings of systems that are never asked."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").touch()
    for name in ("NEXUS_DATABASE_URL", "FILEMAKER_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("FILEMAKER_DATABASE", "FILEMAKER_USERNAME", "FILEMAKER_PASSWORD"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_without_a_dagster_home_nothing_starts(home: Path) -> None:
    (home / "dagster.yaml").unlink()
    with pytest.raises(SettingsError, match="DAGSTER_HOME names no folder"):
        command.main([], standalone_mode=False)


@pytest.mark.parametrize("named", [False, True])
def test_a_setting_of_which_runs_would_have_another_value_than_the_console_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.delenv(NAMED_FILE)
    (home / ".env").write_text("NEXUS_DATABASE_URL=postgresql://real.example/nexus\nSMTP_HOST=\n", "utf-8")
    if named:
        (home / "trial.env").write_text("NEXUS_DATABASE_URL=postgresql://trial.example/nexus\n", "utf-8")
        monkeypatch.setenv(NAMED_FILE, "trial.env")
        monkeypatch.delenv("NEXUS_DATABASE_URL")
    place = NAMED_FILE if named else "the environment"
    with pytest.raises(SettingsError, match=rf"\.env gives another value than {place} to NEXUS_DATABASE_URL\.") as said:
        command.main(["--port", str(free_port())], standalone_mode=False)
    assert "example" not in str(said.value)


@pytest.mark.usefixtures("home")
def test_a_setting_may_have_the_same_value_in_both_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(NAMED_FILE)
    (tmp_path / ".env").write_text("FILEMAKER_DATABASE='none'\nOTHER_PROGRAM=x\nSMTP_PORT=25\n", "utf-8")
    monkeypatch.setenv("OTHER_PROGRAM", "y")
    refuse_differing_settings(["FILEMAKER_DATABASE", "SMTP_PORT"])


def test_a_port_that_is_taken_is_refused(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PipelineError, match=f"Port {port} of 127.0.0.1 cannot be used"):
            command.main(["--port", str(port)], standalone_mode=False)
    assert (home / LOCK_FILE).exists()
    assert "dagster.yaml in DAGSTER_HOME is not that of this release: run_coordinator, " in caplog.text


@pytest.mark.usefixtures("home")
def test_systemd_waits_until_the_tables_are_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        with pytest.raises(SettingsError, match="NEXUS_DATABASE_URL"):
            command.main(["--port", str(free_port())], standalone_mode=False)
        assert systemd.recv(100) == b"EXTEND_TIMEOUT_USEC=120000000"
        with longer_start(0.01):
            assert [systemd.recv(100) for _ in range(3)] == [b"EXTEND_TIMEOUT_USEC=20000"] * 3


@pytest.mark.parametrize(
    ("written", "meant", "differing"),
    [
        ("", "", []),
        ("dequeue_interval_seconds: 1", "dequeue_interval_seconds: 5", ["run_coordinator"]),
        ("WatchfulRunLauncher", "DefaultRunLauncher", ["run_launcher"]),
        ("default_limit: 1", "default_limit: 2", ["concurrency"]),
        ("poll_interval_seconds: 30", "poll_interval_seconds: 60", ["run_monitoring"]),
        ("purge_after_days: 90", "purge_after_days: 9", []),  # a clinic may keep its history for as long as it likes
        ("telemetry:", "telemetry: [", []),  # Dagster says it
    ],
)
def test_a_copy_of_dagster_yaml_that_is_not_of_this_release_is_told_by_its_parts(
    tmp_path: Path, written: str, meant: str, differing: list[str]
) -> None:
    copy = tmp_path / "dagster.yaml"
    copy.write_text(OURS.read_text("utf-8").replace(written, meant), "utf-8")
    assert differing_parts(copy) == differing


def test_the_file_for_several_hosts_is_not_compared() -> None:
    assert differing_parts(TOP / "deploy" / "celery" / "dagster.yaml") == []


def test_folders_in_which_the_service_may_not_write_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / LOCK_FILE).mkdir()
    with pytest.raises(PipelineError, match=rf"The file {home / LOCK_FILE} cannot be opened: Is a directory\."):
        command.main([], standalone_mode=False)
    (home / "file").touch()
    monkeypatch.setenv("STATE_DIR", str(home / "file"))
    with pytest.raises(
        SettingsError, match=rf"The folder {home / 'file' / 'console'} cannot be made: Not a directory\."
    ):
        command.main([], standalone_mode=False)


def test_two_services_do_not_share_a_dagster_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fm_pipeline.serve.lock.LEFTOVER_SECONDS", 0)  # this process is no service to wait for
    refusal = rf"in use by another fm-pipeline serve \(process {os.getpid()}\)"
    with locked(home), pytest.raises(PipelineError, match=refusal):
        command.main([], standalone_mode=False)


def test_the_socket_of_a_killed_code_server_is_removed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "code.sock"))
    parts(tmp_path, 0)
    assert not (tmp_path / "code.sock").exists()


def test_a_folder_with_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="The path of STATE_DIR is too long"):
        parts(tmp_path / ("a" * 100), 0)


def test_the_daemon_waits_for_the_code_server_which_makes_the_tables_of_dagster(tmp_path: Path) -> None:
    waiting = {part.name: part.after for part in parts(tmp_path, 0)}
    assert waiting == {CODE_SERVER: None, SITE: None, DAEMON: tmp_path / SOCKET}
