"""An import in chunks by Dagster and Celery, with kills. Each host is a process with its own home and database role.

`python -m fm_pipeline_tests.kills.hosts --files 2000 --count 6 --seed 1`: exit code 0 if all of it held, 2 if Redis or
Orthanc is missing. The files of `deploy/celery` are used as they are.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
from psycopg2 import sql

from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.api.requests import start_shared_import
from fm_pipeline.dicom.importer.cut import create_shared_job
from fm_pipeline.dicom.scan.excluded_folders import KNOWN
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.sandbox.programs.programs import PROGRAMS
from fm_pipeline.sandbox.stack.ports import free_port
from fm_pipeline.sandbox.stack.processes import find
from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.sandbox.stack.stack import Stack, temporary_stack
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.support.dicom import environment_of
from fm_pipeline_tests.support.orthanc import OwnOrthanc, own_orthanc
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, create_database
from fm_pipeline_tests.support.services import memory_folder
from fm_pipeline_tests.support.waiting import wait_until

WORKERS = 3
_LIMIT_SECONDS = 900
_INSTANCE = PACKAGE_PARENT / "deploy" / "celery" / "dagster.yaml"
_WORKSPACE = PACKAGE_PARENT / "fm_pipeline" / "defs" / "workspace.yaml"
_OWNER = "hosts_owner"


@dataclass
class Hosts:
    """The processes of all hosts.

    Attributes:
        folder: for the homes and logs.
        environment: what the processes share.
        worker_urls: the database URL of each worker, each with a role of its own.
    """

    folder: Path
    environment: dict[str, str]
    worker_urls: list[str]
    redis_port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start `broker`, `hub` (Dagster's daemon) or `worker 0` and so on."""
        home = self.folder / name.replace(" ", "-")
        home.mkdir(exist_ok=True)
        shutil.copyfile(_INSTANCE, home / "dagster.yaml")
        more = {"DAGSTER_HOME": str(home)}
        if name == "broker":
            keep = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
            command = [PROGRAMS["redis"].require(), "--bind", "127.0.0.1", "--port", str(self.redis_port), *keep]
            command += ["--dir", str(home)]
        elif name == "hub":
            shutil.copyfile(_WORKSPACE, home / "workspace.yaml")
            command = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(home / "workspace.yaml")]
        else:
            number = int(name.split()[1])
            more["NEXUS_DATABASE_URL"] = self.worker_urls[number]
            worker = ["-A", "fm_pipeline.defs.celery_worker", "worker", "--queues", "dagster", "--concurrency", "1"]
            command = [sys.executable, "-m", "celery", *worker, "--hostname", f"worker{number}@%h"]
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
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


@contextmanager
def hosts(folder: Path, stack: Stack, orthanc: OwnOrthanc) -> Iterator[tuple[Hosts, ImportBench]]:
    """Start broker, hub and workers, and yield them with a bench for the import."""
    server, s3 = stack.service(DisposablePostgreSQL), stack.service(S3Service).settings()
    urls = _databases(server)
    settings = import_settings(
        urls[0], orthanc.settings(), folder / "state", orthanc_never_overwrites=True, dicom_allowed_roots=str(folder)
    )
    dagster = urlsplit(server.url("dagster_hosts"))
    port = free_port()
    environment = environment_of(settings) | {
        "FM_PIPELINE_ENV_FILE": os.devnull,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": str(PACKAGE_PARENT),
        "DAGSTER_POSTGRES_HOST": dagster.hostname or "",
        "DAGSTER_POSTGRES_PORT": str(dagster.port),
        "DAGSTER_POSTGRES_USER": dagster.username or "",
        "DAGSTER_POSTGRES_PASSWORD": dagster.password or "",
        "DAGSTER_POSTGRES_DB": "dagster_hosts",
        "DAGSTER_BROKER": f"redis://127.0.0.1:{port}/0",
        "DAGSTER_LOGS_BUCKET": s3["S3_BUCKET"],
        "AWS_ENDPOINT_URL": s3["S3_ENDPOINT_URL"],
        "AWS_ACCESS_KEY_ID": s3["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": s3["AWS_SECRET_ACCESS_KEY"],
        "AWS_REGION": s3["AWS_REGION"],
        "AWS_DEFAULT_REGION": s3["AWS_REGION"],
    }
    of = Hosts(folder, environment, urls[1:], port)
    try:
        of.start("broker")
        home = {"DAGSTER_HOME": str(folder / "broker")}
        subprocess.run(  # noqa: S603  # one process makes Dagster's tables, then the others start
            [sys.executable, "-m", "dagster", "instance", "concurrency", "set", "dicom", str(WORKERS)],
            env=os.environ | environment | home,
            check=True,
            timeout=_LIMIT_SECONDS,
        )
        for name in ("hub", *(f"worker {number}" for number in range(WORKERS))):
            of.start(name)
        yield of, ImportBench(settings, folder / "hospital")
    finally:
        for name in list(of.running):
            of.kill(name)


def _databases(server: DisposablePostgreSQL) -> list[str]:
    """Create the databases and roles, and return the URLs of the owner and of each worker."""
    for name in ("import_hosts", "dagster_hosts"):
        create_database(server, name)
    connection = psycopg2.connect(server.url("import_hosts"))
    urls = [server.url("import_hosts")]
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            owner = sql.Identifier(_OWNER)
            cursor.execute(sql.SQL("CREATE ROLE {0}; GRANT {0} TO CURRENT_USER").format(owner))
            cursor.execute(sql.SQL("GRANT CREATE ON DATABASE import_hosts TO {}").format(owner))
            for number in range(WORKERS):
                role, password = f"host_{number}", secrets.token_hex(8)
                cursor.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                        sql.Identifier(role), sql.Literal(password), owner
                    )
                )
                parts = urlsplit(urls[0])
                urls.append(f"postgresql://{role}:{password}@{parts.hostname}:{parts.port}/import_hosts")
    finally:
        connection.close()
    migrate(urls[0])
    connection = psycopg2.connect(server.url("import_hosts"))
    try:
        with connection, connection.cursor() as cursor:  # the schema's owner is the role that the hosts are members of
            cursor.execute(sql.SQL("GRANT ALL ON SCHEMA fm_pipeline TO {}").format(owner))
            for kind in ("TABLES", "SEQUENCES"):
                cursor.execute(sql.SQL(f"GRANT ALL ON ALL {kind} IN SCHEMA fm_pipeline TO {{}}").format(owner))
    finally:
        connection.close()
    return urls


def killed_import(
    of: Hosts, importing: ImportBench, stack: Stack, orthanc: OwnOrthanc, *, files: int, count: int, rng: random.Random
) -> list[str]:
    """Carry an import out through kills; return what did not hold."""
    folders = 20
    for part in range(folders):
        write_series(importing.folder / f"{part:02}", files // folders, 4_000, name=f"p{part}", patient_id=f"P{part}")
    total = files // folders * folders
    job = create_shared_job(
        importing.url, str(importing.folder), "initial", requested_by="test", excluded=KNOWN, chunk_files=files // 10
    )
    start_shared_import(importing.settings, job.id, actor="test", run_id="hosts")
    began = time.monotonic()
    kinds = ["worker", "broker", "hub", "orthanc", "postgresql"]
    for moment in sorted(rng.sample(range(1, total * 9 // 10), count)):
        wait_until(lambda moment=moment: importing.job(job.id).files_processed >= moment, _LIMIT_SECONDS)  # type: ignore[misc]
        kind = rng.choice(kinds)
        _say(f"{time.monotonic() - began:.0f} s, {importing.job(job.id).files_processed} files: {kind} is killed.")
        _kill(kind, of, importing, stack, orthanc, rng)
    wait_until(lambda: importing.job(job.id).status not in {"pending", "running"}, _LIMIT_SECONDS)
    wait_until(lambda: not _unfinished_runs(stack), _LIMIT_SECONDS)
    _say(f"{time.monotonic() - began:.0f} s: {importing.job(job.id).status}.")
    return _broken(importing, job.id, total)


def _kill(kind: str, of: Hosts, importing: ImportBench, stack: Stack, orthanc: OwnOrthanc, rng: random.Random) -> None:
    if kind == "orthanc":
        orthanc.kill()
        threading.Thread(target=orthanc.start).start()
        wait_until(orthanc.service.ready, 60)
    elif kind == "postgresql":
        postmaster = find(stack.service(DisposablePostgreSQL).record())
        if postmaster is not None:
            processes = [postmaster, *postmaster.children(recursive=True)]
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, timeout=60)
        stack.up()
    else:
        name = _worker_at_work(of, importing) if kind == "worker" else kind
        of.kill(name)
        of.start(name)


def _unfinished_runs(stack: Stack) -> int:
    url = stack.service(DisposablePostgreSQL).url("dagster_hosts")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')")
        ((count,),) = cursor.fetchall()
        return int(count)


def _worker_at_work(of: Hosts, importing: ImportBench) -> str:
    """Wait until a worker holds a chunk, and return its name."""
    found: list[str] = []

    def look() -> bool:
        holders = importing.execute("SELECT holder FROM fm_pipeline.import_chunks WHERE holder IS NOT NULL")
        groups = set()
        for (holder,) in holders:
            with suppress(ProcessLookupError):
                groups.add(os.getpgid(int(holder.rpartition(":")[2])))
        found[:] = [name for name, process in of.running.items() if process.pid in groups]
        return bool(found) or importing.job(1).status != "running"

    wait_until(look, _LIMIT_SECONDS)
    return found[0] if found else "worker 0"


def _broken(importing: ImportBench, job_id: int, files: int) -> list[str]:
    job = importing.job(job_id)
    rows = importing.execute(
        "SELECT count(*), count(DISTINCT path_hash), count(DISTINCT orthanc_instance_id),"
        " count(*) FILTER (WHERE status IN ('imported', 'already_there')) FROM fm_pipeline.import_history"
        " WHERE job_id = %s",
        job_id,
    )[0]
    holders = importing.execute("SELECT count(*), max(fence) FROM fm_pipeline.import_chunks WHERE job_id = %s", job_id)
    _say(f"{holders[0][0]} chunks; the most claims of one: {holders[0][1]}.")
    expected = {
        "job": (job.status, "completed"),
        "instances in Orthanc": (importing.instances(), files),
        "rows, paths, instances, stored": (rows, (files,) * 4),
        "processed": (job.files_processed, files),
        "found by the comparison": ((job.instances_expected, job.instances_missing), (files, 0)),
    }
    return [f"{what}: {found}, not {wanted}" for what, (found, wanted) in expected.items() if found != wanted]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """One import, and what came of it."""
    parser = argparse.ArgumentParser(prog="kills-hosts", description=__doc__)
    parser.add_argument("--files", type=int, default=2000, help="how many files the import has")
    parser.add_argument("--count", type=int, default=6, help="how many kills")
    parser.add_argument("--seed", type=int, default=1, help="decides what is killed, and when")
    parser.add_argument("--keep", type=Path, help="folder for homes and logs, which are kept")
    given = parser.parse_args()
    if not OwnOrthanc.available() or not PROGRAMS["redis"].find():
        parser.exit(2, "Orthanc or redis-server is not installed, so nothing was tried.\n")
    with ExitStack() as opened:
        folder = given.keep or Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="kills-hosts-")))
        folder.mkdir(exist_ok=True)
        stack = opened.enter_context(temporary_stack([DisposablePostgreSQL, S3Service], parent=memory_folder()))
        orthanc = opened.enter_context(own_orthanc())
        of, importing = opened.enter_context(hosts(folder, stack, orthanc))
        rng = random.Random(given.seed)  # noqa: S311  # moments, not secrets
        broken = killed_import(of, importing, stack, orthanc, files=given.files, count=given.count, rng=rng)
    for line in broken:
        _say(f"BROKEN: {line}")
    _say("Something did not hold." if broken else "All of it held.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
