"""Follows `docs/operations.md` from top to bottom: its commands as written, in other folders, against real servers."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
import requests

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.history.erased_ids import keep_out
from fm_pipeline.dicom.model import orthanc_id
from fm_pipeline.env_file import env_line
from fm_pipeline.nexus.backup.files import new_key
from fm_pipeline.sandbox.stack.ports import free_port
from fm_pipeline.sandbox.stack.postgresql_binaries import binaries
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP
from fm_pipeline_tests.operations import pages
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_nexus
from fm_pipeline_tests.support.waiting import wait_until

ROLES = ("fm_pipeline_restore", "fm_pipeline_console", "fm_pipeline", "fm_pipeline_audit")
# Nothing of a release but what its wheel is built from
RELEASE = ("pyproject.toml", "setup.py", "README.md", "constraints.txt", "dagster.yaml", ".env.example")
START_SECONDS = 300
NO_SUCH_PROGRAM = 127  # the exit code of the shell


def blocks(heading: str) -> list[str]:
    """The blocks of commands of a section, without those that no test can run."""
    return [
        each.text for each in pages.blocks("docs/operations.md", heading) if each.language == "sh" and not each.reason
    ]


class CommandError(Exception):
    """Commands of the page failed; with what they printed."""


class Server:
    """The machine of the page: its folders below a temporary one, and PostgreSQL's client of the tests.

    Packages are not downloaded: the environment sees those of the tests, and the wheel is built with their setuptools.
    """

    def __init__(self, folder: Path, postgresql: DisposablePostgreSQL) -> None:
        self.opt, self.var, self.release = folder / "opt", folder / "var", folder / "release"
        self.port = free_port()
        self._pip = f"{shlex.quote(sys.executable)} -m pip"
        path = f"{Path(sys.executable).parent}:{binaries(postgresql.data)}:{os.environ['PATH']}"
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
        self.environment = {
            **kept,
            "PATH": path,
            "PIP_NO_INDEX": "1",
            "PIP_QUIET": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def run(self, commands: str, **variables: str | Path) -> str:
        """Run commands as the page has them; return what they print."""
        for written, meant in {
            "python3 -m venv": f"{shlex.quote(sys.executable)} -m venv --without-pip",
            "/opt/fm-pipeline/.venv/bin/pip wheel": f"{self._pip} wheel --quiet --no-build-isolation",
            "/opt/fm-pipeline/.venv/bin/pip install": f"{self._pip} --python {self.opt}/.venv/bin/python install",
            "-o fm-pipeline -g fm-pipeline ": "",
            "chown -R fm-pipeline:fm-pipeline": ": ",
            "sudo --preserve-env=NEXUS_DATABASE_URL -u fm-pipeline ": "",
            "sudo --preserve-env=BACKUP_KEY -u fm-pipeline ": "",
            "sudo -u fm-pipeline ": "",
            "/opt/fm-pipeline": str(self.opt),
            "/var/lib/fm-pipeline": str(self.var),
            ":8000": f":{self.port}",
        }.items():
            commands = commands.replace(written, meant)
        environment = {**self.environment, **{name: str(value) for name, value in variables.items()}}
        done = subprocess.run(  # noqa: S603
            ["/bin/sh", "-euc", commands],
            cwd=self.release,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != NO_SUCH_PROGRAM, done.stderr
        if done.returncode:
            raise CommandError(f"{commands}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def succeeds(self, commands: str) -> bool:
        """Whether the commands end with 0."""
        try:
            self.run(commands)
        except CommandError:
            return False
        return True

    def fetch_release(self) -> None:
        """Get the release that the page installs."""
        shutil.copytree(TOP / "fm_pipeline", self.release / "fm_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
        for name in RELEASE:
            shutil.copyfile(TOP / name, self.release / name)

    def install(self) -> None:
        """Run the section Install, up to the settings."""
        install, *_ = blocks("Install")
        first, rest = install.split("\n", 1)
        self.run(first)
        (packages,) = (self.opt / ".venv" / "lib").glob("python3*/site-packages")
        (packages / "tests.pth").write_text(sysconfig.get_paths()["purelib"])
        self.run(rest)

    def write_settings(self, settings: dict[str, str]) -> None:
        """Fill in `.env`."""
        lines = [env_line(name, value) for name, value in settings.items()]
        (self.opt / ".env").write_text("\n".join(lines) + "\n")


def as_role(url: str, role: str, password: str) -> str:
    """The URL of the same database for another role."""
    parts = urlsplit(url)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{address}"))


@pytest.fixture
def no_roles(postgresql: DisposablePostgreSQL) -> Iterator[None]:
    """The roles have the page's names and belong to the whole server: none is there, and none stays."""
    yield
    with connect(postgresql.url("postgres")) as connection, connection.cursor() as cursor:
        for role in ROLES:
            cursor.execute(f"DROP ROLE IF EXISTS {role}")
        connection.commit()


def test_the_page_can_be_followed_from_the_wheel_to_the_upgrade(
    no_roles: None, postgresql: DisposablePostgreSQL, bench: MigrationBench, tmp_path: Path
) -> None:
    server = Server(tmp_path, postgresql)
    server.fetch_release()
    server.install()
    key = server.run(blocks("Install")[1]).strip()
    settings = {
        **bench.environment(),
        "STATE_DIR": str(server.var / "state"),
        "BACKUP_DIR": str(server.var / "backups"),
        "BACKUP_KEY": key,
        "CONSOLE_ALLOWED_HOSTS": "console.clinic.example,127.0.0.1",
    }
    server.write_settings(settings)
    urls = {"OWNER_URL": bench.database_url, "SUPERUSER_URL": bench.database_url}
    make_roles, first_plan = blocks("Roles and grants")
    server.run(make_roles, **urls)
    for role in ROLES[:3]:
        bench.execute(f"ALTER ROLE {role} PASSWORD 'weak'")
    settings["NEXUS_DATABASE_URL"] = as_role(bench.database_url, "fm_pipeline", "weak")
    settings["CONSOLE_DATABASE_URL"] = as_role(bench.database_url, "fm_pipeline_console", "weak")
    settings["RESTORE_DATABASE_URL"] = as_role(bench.database_url, "fm_pipeline_restore", "weak")
    server.write_settings(settings)
    planned = server.run(first_plan)
    assert "fm-pipeline reimport" in planned
    server.run(make_roles, **urls)
    assert bench.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'audit'") == [("fm_pipeline_audit",)]

    back_up, upgrade, allow, forbid = blocks("Upgrade")
    folder = server.run(back_up, **urls).splitlines()[-1]
    dump = server.release / "before-upgrade.dump"
    assert dump.stat().st_mode & 0o777 == 0o600
    assert " audit " in server.run(f"pg_restore --list {dump}")
    server.run(upgrade, PIP_NO_DEPS="1")  # they are there
    change = "ALTER TABLE fm_pipeline.audit ADD COLUMN of_a_later_release text"
    change_audit = f"psql -X '{settings['NEXUS_DATABASE_URL']}' -c '{change}'"
    assert not server.succeeds(change_audit)
    server.run(allow, **urls)
    server.run(change_audit)
    server.run(forbid, **urls)
    _go_back(server, bench, urls)
    _serve_by_the_unit(server)

    (copies,) = blocks("Backup of the pipeline's own state")
    server.run(copies, **urls)
    assert (server.release / "nexus.dump").stat().st_size > 0
    assert f"backups/{Path(folder).name}/" in server.run("tar tzf state.tar.gz")
    assert {(server.release / name).stat().st_mode & 0o777 for name in ("nexus.dump", "roles.dump")} == {0o600}
    _move(server, bench, postgresql, planned)

    with empty_nexus(postgresql) as elsewhere:
        (drill,) = blocks("Restore drill")
        assert "It was rolled back." in server.run(drill, DRILL_URL=elsewhere)

    erase, let_in = blocks("A patient asks to be erased")
    assert "hold nothing of this patient" in server.run(erase, PATIENT="nobody", DICOM_ID="none")
    _let_in(server, bench, let_in)

    settings["BACKUP_KEY"] = new_key()
    server.write_settings(settings)
    (old_backup,) = blocks("`BACKUP_KEY`")
    restored = server.run(old_backup, OLD_KEY=key, FOLDER=folder)
    assert "Every row is as in the backup." in restored


def _let_in(server: Server, bench: MigrationBench, command: str) -> None:
    with connect(bench.database_url) as connection, connection.cursor() as cursor:
        keep_out(cursor, ["P 1", "P 2"])
        connection.commit()
    server.run(command, DICOM_ID="P 1", SUPERUSER_URL=bench.database_url)
    left = {each for (each,) in bench.execute("SELECT orthanc_patient_id FROM fm_pipeline.erased_dicom_patients")}
    assert left == {orthanc_id("P 2"), orthanc_id("P 2 ")}


def _move(server: Server, bench: MigrationBench, postgresql: DisposablePostgreSQL, planned: str) -> None:
    """Move to a server that has nothing: neither the database nor the folders. Its roles are there already.

    Args:
        planned: what the first plan has printed; no row of Nexus has changed since.
    """
    restore, unpack, compare = blocks("Move to another server")
    listed = server.run("cd /opt/fm-pipeline; .venv/bin/fm-pipeline backup --list")
    with closing(psycopg2.connect(postgresql.url("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"DROP DATABASE {bench.database_url.rsplit('/', 1)[1]} WITH (FORCE)")
    server.var.rename(server.var.with_name("old server"))
    server.var.mkdir(mode=0o700)
    server.run(restore, NEW_SERVER_URL=postgresql.url("postgres"))
    server.run(unpack)
    compared = server.run(compare)
    assert listed in compared
    assert _changes(compared) == _changes(planned)


def _changes(printed: str) -> list[str]:
    return re.findall(r"[\d,]+ rows? would change", printed)


def _go_back(server: Server, bench: MigrationBench, urls: dict[str, str]) -> None:
    """Put back what was there before the upgrade; a backup and a column came after it."""
    (back,) = blocks("Back to the older release")
    audited = "SELECT count(*) FROM fm_pipeline.audit"
    recorded = bench.execute(audited)
    server.run(back, **urls)
    columns = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'of_a_later_release'"
    assert bench.execute(columns) == [(0,)]
    assert bench.execute(audited) < recorded
    assert (server.var / "dagster" / "dagster.yaml").is_file()
    server.run("cd /opt/fm-pipeline; .venv/bin/fm-pipeline backup")


def _serve_by_the_unit(server: Server) -> None:
    """Start the service with the unit's command, environment and folder, as systemd does, and stop it."""
    unit = (TOP / "deploy" / "fm-pipeline.service").read_text("utf-8")
    for written, meant in {"/opt/fm-pipeline": server.opt, "/var/lib/fm-pipeline": server.var}.items():
        unit = unit.replace(written, str(meant))
    values = dict(re.findall(r"^(ExecStart|WorkingDirectory)=(.+)$", unit, re.MULTILINE))
    environment = dict(line.split("=", 1) for line in re.findall(r"^Environment=(.+)$", unit, re.MULTILINE))
    command = shlex.split(values["ExecStart"].replace("8000", str(server.port)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(server.var / "notify"))
        systemd.settimeout(START_SECONDS)
        environment |= {"NOTIFY_SOCKET": str(server.var / "notify"), "PATH": "/usr/bin:/bin", "HOME": str(server.var)}
        log = server.var / "journal"
        with (
            log.open("wb") as journal,
            subprocess.Popen(  # noqa: S603
                command, cwd=values["WorkingDirectory"], env=environment, stdout=journal, stderr=journal
            ) as service,
        ):
            try:
                assert systemd.recv(1000).startswith(b"EXTEND_TIMEOUT_USEC="), log.read_text("utf-8")
                assert systemd.recv(1000) == b"READY=1", log.read_text("utf-8")
                (health,) = blocks("The service")
                wait_until(lambda: server.succeeds(health))  # the first heartbeats of the daemon take some seconds
                page = requests.get(f"http://127.0.0.1:{server.port}/metrics", timeout=30, allow_redirects=False)
                assert page.status_code in {302, 401}
            finally:
                service.send_signal(signal.SIGTERM)
        assert service.returncode == 0, log.read_text("utf-8")
