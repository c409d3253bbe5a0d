"""An import by four processes that share it, as on four hosts: how near they come to what Orthanc takes.

    python benchmarks/scaling.py [--json FILE] [--files N]

A proxy limits Orthanc to half of what one process reaches, but to no less than 100 instances a second. Each process has
a home and a database role of its own. The second round kills one of them. docs/scaling.md says more.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
from into_orthanc.limited_orthanc import LimitedOrthanc, limited_orthanc
from into_orthanc.measure import NOT_ASKED
from psycopg2 import sql
from results import Row, report

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.history.jobs import get_job
from fm_pipeline.dicom.importer.cut import create_shared_job
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.scan.excluded_folders import KNOWN
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.processes import find
from fm_pipeline.sandbox.stack.stack import temporary_stack

FILES, FILE_BYTES, FOLDER_FILES = 100_000, 8_000, 250
WORKERS, LEAST_RATE = 4, 100.0
WARMING_FILES = 1_000
# With 100,000 files a silent process is given up after a minute; with fewer files sooner, in proportion.
SILENT_SECONDS, LEAST_SILENT_SECONDS = 60.0, 3.0
WORKER = """
import sys, time
from fm_pipeline.dicom.importer.run_chunks import ClaimTimes, run_chunks
from fm_pipeline.settings import load_settings
settings = load_settings(_env_file=None)
print("ready", flush=True)
sys.stdin.readline()
run_chunks(settings, int(sys.argv[1]), times=ClaimTimes(heartbeat=float(sys.argv[2]) / 6, silent=float(sys.argv[2])))
print(time.process_time(), flush=True)
"""


@dataclass(frozen=True)
class Bench:
    """The servers, and one environment for each process."""

    owner_url: str
    orthanc: dict[str, str]
    limited: LimitedOrthanc
    server: psutil.Process
    environments: list[dict[str, str]]
    silent: float

    def run(self, folder: Path, files: int, workers: int, *, kill: bool = False) -> dict[str, float]:
        """Import a folder; return instances a second, CPU time of an instance, and the whole time."""
        began = time.monotonic()
        job_id = create_shared_job(
            self.owner_url,
            str(folder),
            "initial",
            requested_by="benchmark",
            excluded=KNOWN,
            chunk_files=max(FOLDER_FILES, files // 50),
        ).id
        listed = time.monotonic() - began
        listed_bytes = self.value(
            "SELECT sum(pg_column_size(paths)) FROM fm_pipeline.import_chunks WHERE job_id = %s", job_id
        )
        self.limited.reset()
        processes = [self._worker(job_id, environment) for environment in self.environments[:workers]]
        for process in processes:
            expect(process.stdout is not None and process.stdout.readline() == b"ready\n")
        started, before = time.monotonic(), sum(self.server.cpu_times()[:2])
        for process in processes:
            process.stdin.write(b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        if kill:
            while self.limited.stored < files // 3:
                time.sleep(0.05)
            psutil.Process(processes[0].pid).kill()
        printed = [process.communicate()[0] for process in processes]
        job = get_job(self.owner_url, job_id)
        expect((job.status, job.files_processed, job.instances_missing) == ("completed", files, 0))
        return {
            "rate": self.limited.stored / (self.limited.last - self.limited.first),
            "processor": sum(float(each) for each in printed if each) / files,
            "seconds": time.monotonic() - started,
            "orthanc": (sum(self.server.cpu_times()[:2]) - before) / files,
            "listed": files / listed,
            "listed_bytes": listed_bytes / files,
            "compared": files
            / self.value(
                "SELECT extract(epoch FROM done_at - claimed_at) FROM fm_pipeline.import_chunks"
                " WHERE job_id = %s AND closing",
                job_id,
            ),
        }

    def value(self, question: str, *values: object) -> float:
        """Return the one number that a question has for an answer."""
        with connect(self.owner_url) as connection, connection.cursor() as cursor:
            cursor.execute(question, values)
            ((number,),) = cursor.fetchall()
            return float(number)

    def _worker(self, job_id: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", WORKER, str(job_id), str(self.silent)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def check(self, files: int) -> None:
        """Each instance is in Orthanc once, and each file in the history once for each job."""
        with Orthanc(*self.orthanc.values()) as orthanc:
            expect(orthanc.statistics()["CountInstances"] == files)
        with connect(self.owner_url) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) = count(DISTINCT (job_id, path_hash)), count(DISTINCT orthanc_instance_id)"
                " FROM fm_pipeline.import_history WHERE status IN ('imported', 'already_there')"
            )
            expect(cursor.fetchone() == (True, files))


def expect(held: bool) -> None:
    """A run that does not do its work must not be measured."""
    if not held:
        raise SystemExit("The import did not do what it should.")


@contextmanager
def bench(folder: Path, silent: float) -> Iterator[Bench]:
    """Start the servers and make the roles."""
    with temporary_stack([PostgreSQLService, OrthancService]) as stack:
        settings = stack.environment()
        url = settings["NEXUS_DATABASE_URL"]
        migrate(url)
        orthanc = {name: settings[name] for name in ("ORTHANC_URL", "ORTHANC_USERNAME", "ORTHANC_PASSWORD")}
        nobody = {"FILEMAKER_URL": "http://127.0.0.1:1", **dict.fromkeys(NOT_ASKED, "none")}
        with limited_orthanc(orthanc["ORTHANC_URL"]) as limited:
            shared = os.environ | settings | nobody
            shared |= {"ORTHANC_URL": limited.url, "ORTHANC_NEVER_OVERWRITES": "true"}
            environments = [
                shared | {"NEXUS_DATABASE_URL": role_url, "STATE_DIR": str(folder / f"home {number}")}
                for number, role_url in enumerate(_roles(url))
            ]
            process = find(stack.service(OrthancService).record())
            expect(process is not None)
            yield Bench(url, orthanc, limited, process, environments, silent)  # type: ignore[arg-type]


def _roles(url: str) -> list[str]:
    """Make a role for each process, with the rights of the one that owns the tables."""
    parts, urls = urlsplit(url), []
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        for number in range(WORKERS):
            role, password = f"host_{number}", secrets.token_hex(8)
            cursor.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
            )
            name = sql.Identifier(role)
            cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA fm_pipeline TO {}").format(name))
            for kind in ("TABLES", "SEQUENCES"):
                cursor.execute(sql.SQL(f"GRANT ALL ON ALL {kind} IN SCHEMA fm_pipeline TO {{}}").format(name))
            urls.append(f"postgresql://{role}:{password}@{parts.hostname}:{parts.port}{parts.path}")
    connection.close()
    return urls


def write_files(folder: Path, files: int, name: str) -> Path:
    """Write the files of a round, in folders."""
    for number in range(-(-files // FOLDER_FILES)):
        count = min(FOLDER_FILES, files - number * FOLDER_FILES)
        write_series(folder / f"{number:05}", count, FILE_BYTES, name=f"{name} {number}", patient_id=f"{name} {number}")
    return folder


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--files", type=int, default=FILES, help="instances of each of the two rounds")
    given = parser.parse_args()
    if not OrthancService.available():
        raise SystemExit("Orthanc is not installed (Debian: apt-get install orthanc).")
    silent = max(LEAST_SILENT_SECONDS, SILENT_SECONDS * given.files / FILES)
    rows = []
    with tempfile.TemporaryDirectory() as name, bench(Path(name), silent) as of:
        folder = Path(name)
        alone = of.run(write_files(folder / "one", WARMING_FILES, "one"), WARMING_FILES, 1)
        of.limited.rate = max(LEAST_RATE, alone["rate"] / 2)
        print(f"one process: {alone['rate']:.0f} instances/s; the limit is {of.limited.rate:.0f} instances/s")  # noqa: T201
        total = WARMING_FILES
        for what, kill in (("four processes", False), ("four, one killed", True)):
            measured = of.run(write_files(folder / what, given.files, what), given.files, WORKERS, kill=kill)
            total += given.files
            of.check(total)
            rows.append(
                Row(
                    f"{what}: s for an instance, against the limit",
                    1 / measured["rate"],
                    1 / of.limited.rate,
                    0.9,
                    "at_least",
                )
            )
            print(  # noqa: T201
                f"{what}: {measured['rate']:.0f} instances/s, {measured['seconds']:.0f} s with the comparison;"
                f" CPU time of an instance {1000 * measured['processor']:.2f} ms in those that have ended, and"
                f" Orthanc's {1000 * measured['orthanc']:.2f} ms"
            )
        row = of.value(
            "SELECT pg_total_relation_size('fm_pipeline.import_history') / count(*) FROM fm_pipeline.import_history"
        )
        print(  # noqa: T201
            f"listing: {measured['listed']:.0f} entries/s, {measured['listed_bytes']:.0f} bytes of an entry in"
            f" import_chunks; comparison: {measured['compared']:.0f} instances/s; history: {row:.0f} bytes of a row"
        )
    report("scaling", rows, given.json)


if __name__ == "__main__":
    main()
