"""The processes of several hosts: each host has its own home, state folder and database role.

The files of `deploy/celery` are used as they are, and the hub is `fm-pipeline serve`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
from psycopg2 import sql

from fm_pipeline.db.migrate import migrate
from fm_pipeline.sandbox.clinic.fill import fill_nexus
from fm_pipeline.sandbox.clinic.nexus.system import VIEWERS
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline.sandbox.programs.programs import PROGRAMS
from fm_pipeline.sandbox.stack.console import ConsoleService
from fm_pipeline.sandbox.stack.ports import free_port
from fm_pipeline.sandbox.stack.processes import find
from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.sandbox.stack.stack import Stack, temporary_stack
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.support.clinics import small_clinic
from fm_pipeline_tests.support.dicom import environment_of
from fm_pipeline_tests.support.orthanc import OwnOrthanc
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, create_database

WORKERS = 3
LIMIT_SECONDS = 900
HUB, BROKER = "hub", "broker"
IMPORTS, RUNS = "import_hosts", "dagster_hosts"  # databases
_INSTANCE = PACKAGE_PARENT / "deploy" / "celery" / "dagster.yaml"
_OWNER = "hosts_owner"


@dataclass
class Hosts:
    """The processes of all hosts.

    Attributes:
        folder: for the homes and logs.
        environment: what the processes share.
        worker_urls: the database URL of each worker, each with a role of its own.
        hub: the stack of the console.
    """

    folder: Path
    environment: dict[str, str]
    worker_urls: list[str]
    redis_port: int
    redis_password: str
    hub: Stack
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def console(self) -> ConsoleService:
        """The console of the hub."""
        (kind,) = self.hub.service_types
        service = self.hub.service(kind)
        assert isinstance(service, ConsoleService)
        return service

    def start(self, name: str) -> None:
        """Start `broker`, `hub` or `worker 0` and so on."""
        if name == HUB:
            self.hub.up()
            return
        home = self.folder / name.replace(" ", "-")
        home.mkdir(exist_ok=True)
        shutil.copyfile(_INSTANCE, home / "dagster.yaml")
        more = {"DAGSTER_HOME": str(home), "STATE_DIR": str(home / "state")}
        if name == BROKER:
            keep = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
            command = [PROGRAMS["redis"].require(), "--bind", "127.0.0.1", "--port", str(self.redis_port), *keep]
            command += ["--requirepass", self.redis_password, "--dir", str(home)]
        else:
            number = int(name.split()[1])
            more["NEXUS_DATABASE_URL"] = self.worker_urls[number]
            worker = ["-A", "fm_pipeline.defs.celery_worker", "worker", "--queues", "dagster", "--concurrency", "1"]
            command = [sys.executable, "-m", "celery", *worker, "--loglevel", "INFO", "--hostname", f"w{number}@%h"]
        with (self.folder / f"{home.name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(  # noqa: S603  # ours
                command,
                cwd=home,
                env=os.environ | self.environment | more,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """Kill it with all its processes, as when its host loses power."""
        if name == HUB:
            supervisor = find(self.console.record())
            if supervisor is not None:
                kill_all([supervisor, *supervisor.children(recursive=True)])
            return
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)

    def stop_worker(self, name: str) -> None:
        """Stop a worker as its systemd unit does: SIGQUIT to its first process."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGQUIT)
        process.wait(LIMIT_SECONDS)


def kill_all(processes: list[psutil.Process]) -> None:
    """Kill processes, and wait for their end."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=60)


@contextmanager
def hosts(folder: Path, stack: Stack, orthanc: OwnOrthanc) -> Iterator[tuple[Hosts, ImportBench]]:
    """Start broker, hub and workers, and yield them with a bench for the import."""
    server, s3 = stack.service(DisposablePostgreSQL), stack.service(S3Service).settings()
    urls = _databases(server)
    settings = import_settings(
        urls[0],
        orthanc.settings() | s3,
        folder / "state",
        orthanc_never_overwrites=True,
        dicom_allowed_roots=str(folder),
        hospital_data_path=str(folder / "hospital"),
        console_viewer_group=VIEWERS,
    )
    dagster = urlsplit(server.url(RUNS))
    port, password = free_port(), secrets.token_hex(8)
    environment = environment_of(settings) | {
        "FM_PIPELINE_ENV_FILE": os.devnull,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": str(PACKAGE_PARENT),
        "DAGSTER_POSTGRES_HOST": dagster.hostname or "",
        "DAGSTER_POSTGRES_PORT": str(dagster.port),
        "DAGSTER_POSTGRES_USER": dagster.username or "",
        "DAGSTER_POSTGRES_PASSWORD": dagster.password or "",
        "DAGSTER_POSTGRES_DB": RUNS,
        "DAGSTER_BROKER": f"redis://:{password}@127.0.0.1:{port}/0",
        "DAGSTER_LOGS_BUCKET": s3["S3_BUCKET"],
    }
    with ExitStack() as opened:
        # The state folder is the hub's. Its console starts with the broker, whose tables are made below.
        idle = opened.enter_context(temporary_stack([]))
        hub = Stack(idle.state_dir, [_hub(environment)])
        of = Hosts(folder, environment, urls[1:], port, password, hub)
        opened.callback(_kill_the_rest, of)
        of.start(BROKER)
        subprocess.run(  # noqa: S603  # one process makes Dagster's tables, then the others start
            [sys.executable, "-m", "dagster", "instance", "concurrency", "set", "dicom", str(WORKERS)],
            cwd=folder,
            env=os.environ | environment | {"DAGSTER_HOME": str(folder / BROKER)},
            check=True,
            timeout=LIMIT_SECONDS,
        )
        for name in (HUB, *(f"worker {number}" for number in range(WORKERS))):
            of.start(name)
        yield of, ImportBench(settings, folder / "hospital")


def _kill_the_rest(of: Hosts) -> None:
    for name in list(of.running):
        of.kill(name)
    if of.hub.status()[0].alive:
        of.kill(HUB)
        shutil.copy(of.console.log, of.folder / "hub.log")


def _hub(environment: dict[str, str]) -> type[ConsoleService]:
    class Hub(ConsoleService):
        """The console with the dagster.yaml of several hosts."""

        def instance(self) -> str:
            return _INSTANCE.read_text("utf-8")

        def process_environment(self) -> dict[str, str]:
            ours = super().process_environment()
            return ours | environment | {"DAGSTER_HOME": str(self.home), "STATE_DIR": str(self.folder / "state")}

    return Hub


def _databases(server: DisposablePostgreSQL) -> list[str]:
    """Create the databases and roles, and return the URLs of the owner and of each worker."""
    for name in (IMPORTS, RUNS):
        create_database(server, name)
    urls = [server.url(IMPORTS)]
    with closing(psycopg2.connect(urls[0])) as connection:  # the console asks it for accounts
        create_nexus(connection)
        connection.commit()
        fill_nexus(connection, small_clinic())
        connection.commit()
    with closing(psycopg2.connect(urls[0])) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        owner = sql.Identifier(_OWNER)
        cursor.execute(sql.SQL("CREATE ROLE {0}; GRANT {0} TO CURRENT_USER").format(owner))
        for number in range(WORKERS):
            role, password = f"host_{number}", secrets.token_hex(8)
            cursor.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                    sql.Identifier(role), sql.Literal(password), owner
                )
            )
            parts = urlsplit(urls[0])
            urls.append(f"postgresql://{role}:{password}@{parts.hostname}:{parts.port}/{IMPORTS}")
        migrate(urls[0])
        cursor.execute(sql.SQL("GRANT ALL ON SCHEMA fm_pipeline TO {}").format(owner))
        for kind in ("TABLES", "SEQUENCES"):
            cursor.execute(sql.SQL(f"GRANT ALL ON ALL {kind} IN SCHEMA fm_pipeline TO {{}}").format(owner))
    return urls
