"""Imports in chunks on several hosts: with kills, and terminated from the console of the hub."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import psycopg2
import requests

from fm_pipeline.dicom.importer.cut import create_shared_job
from fm_pipeline.dicom.scan.excluded_folders import KNOWN
from fm_pipeline.sandbox.clinic.nexus.system import ADMIN, SANDBOX_PASSWORD, VIEWER
from fm_pipeline.sandbox.demo.run import launch
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.sandbox.stack.processes import find
from fm_pipeline.sandbox.stack.stack import Stack
from fm_pipeline_tests.dicom.bench import ImportBench
from fm_pipeline_tests.kills.host_processes import HUB, LIMIT_SECONDS, RUNS, Hosts, kill_all
from fm_pipeline_tests.support.orthanc import OwnOrthanc
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL
from fm_pipeline_tests.support.searching import say
from fm_pipeline_tests.support.waiting import wait_until

JOB = "dicom_import_chunks"
KINDS = ("worker", "stopped worker", "broker", HUB, "orthanc", "postgresql")
FOLDERS = 20
PATIENT = "Quixotic"  # in names and folders of all patients; nothing that is printed may have it
FILE_BYTES = 4_000
_TERMINATE = """
mutation($id: String!) { terminateRun(runId: $id) { __typename } }
"""
_PRINTED = """
query($id: ID!) { logsForRun(runId: $id) {
  ... on EventConnection { events { ... on LogsCapturedEvent { fileKey } } } } }
"""
_OUTPUT = """
query($key: [String!]!) { capturedLogs(logKey: $key) { stdout stderr }
  capturedLogsMetadata(logKey: $key) { stderrDownloadUrl } }
"""


@dataclass
class Trial:
    """Hosts, and imports by them.

    Attributes:
        expected: instances in Orthanc after the imports so far.
    """

    of: Hosts
    importing: ImportBench
    stack: Stack
    orthanc: OwnOrthanc
    expected: int = 0

    def prepare(self, number: int, files: int, chunks: int = 10) -> int:
        """Write the files of an import, and prepare its job; return its id."""
        source = self.importing.folder / f"{PATIENT} {number}"
        for part in range(FOLDERS):
            name = f"{number} {part}"
            write_series(
                *(source / name, files // FOLDERS, FILE_BYTES),
                name=name,
                patient_id=f"{PATIENT} {name}",
                patient_name=f"{PATIENT}^{name}",
            )
        self.expected += files // FOLDERS * FOLDERS
        url = self.importing.url
        return create_shared_job(
            url, str(source), "initial", requested_by="test", excluded=KNOWN, chunk_files=files // chunks
        ).id

    def start(self, job_id: int) -> str:
        """Start or resume a job from the console; return the run's id."""
        return launch(self.of.console, JOB, {"ops": {"import_dicom_chunk": {"config": {"job_id": job_id}}}})

    def terminated(self, job_id: int) -> Iterator[str]:
        """Start a job, terminate the run of a chunk in the console, and yield what did not hold."""
        admin = self.of.console.log_in(ADMIN, SANDBOX_PASSWORD)
        first = self.start(job_id)
        self.wait(lambda: bool(self.importing.job(job_id).files_processed) and bool(self._chunk_runs("STARTED")))
        (victim, *_) = self._chunk_runs("STARTED")
        answer = self._ask(admin, _TERMINATE, id=victim)["terminateRun"]["__typename"]
        begun = time.monotonic()
        self.wait(lambda: self.importing.job(job_id).status != "running")
        self.wait(lambda: not self.unfinished())
        say(f"A run was terminated; the import and all its runs had ended {time.monotonic() - begun:.0f} s later.")
        audited = self.importing.execute(
            "SELECT DISTINCT actor, action, outcome FROM fm_pipeline.audit WHERE run_id IN (%s, %s)", first, victim
        )
        yield from broken(
            {
                "answer": (answer, "TerminateRunSuccess"),
                "terminated run": (self._status(victim), "CANCELED"),
                "terminated import": (self.importing.job(job_id).status, "cancelled"),
                "failed runs": (self._runs("FAILURE"), []),
                "in the audit trail": (
                    {(ADMIN, "dagster", "done"), (ADMIN, "dicom_import", "started")} - set(audited),
                    set(),
                ),
            }
        )
        yield from self._printed(admin, victim)

    def _printed(self, admin: requests.Session, run_id: str) -> Iterator[str]:
        """Yield what is wrong with what a run has printed, as the console of the hub shows it."""
        events = self._ask(admin, _PRINTED, id=run_id)["logsForRun"]["events"]
        (key,) = [[run_id, "compute_logs", event["fileKey"]] for event in events if event]
        shown = self._ask(admin, _OUTPUT, key=key)
        viewer = self.of.console.log_in(VIEWER, SANDBOX_PASSWORD)
        address = str(shown["capturedLogsMetadata"]["stderrDownloadUrl"])
        page = f"{self.of.console.url}/dagster{address}"
        text = admin.get(page, timeout=60).text
        seen = self._ask(viewer, _OUTPUT, key=key)
        yield from broken(
            {
                "printed": ("Import job" in (shown["capturedLogs"]["stderr"] or ""), True),
                "downloaded": (text, shown["capturedLogs"]["stderr"]),
                "address of the download": (address, f"/logs/{'/'.join(key)}/err"),
                "downloaded by a viewer": (viewer.get(page, timeout=60).status_code, 403),
                "shown to a viewer": (text[:100] in str(seen) or address in str(seen), False),
            }
        )

    def killed(self, job_id: int, files: int, count: int, rng: random.Random) -> Iterator[str]:
        """Carry an import out through kills; yield what did not hold."""
        self.start(job_id)
        self.wait(lambda: self.importing.job(job_id).status not in {"pending", "cancelled"})
        began = time.monotonic()
        for moment in sorted(rng.sample(range(1, files * 9 // 10), count)):
            self.wait(lambda moment=moment: self.importing.job(job_id).files_processed >= moment)  # type: ignore[misc]
            kind = rng.choice(KINDS)
            say(f"{time.monotonic() - began:.0f} s, {self.importing.job(job_id).files_processed} files: {kind}.")
            self._kill(kind, job_id)
        self.wait(lambda: self.importing.job(job_id).status not in {"pending", "running"})
        self.wait(lambda: not self.unfinished())
        say(f"{time.monotonic() - began:.0f} s: {self.importing.job(job_id).status}.")
        yield from self._imported(job_id, files)

    def _kill(self, kind: str, job_id: int) -> None:
        if kind == "orthanc":
            self.orthanc.kill()
            threading.Thread(target=self.orthanc.start).start()
            wait_until(self.orthanc.service.ready, 60)
        elif kind == "postgresql":
            postmaster = find(self.stack.service(DisposablePostgreSQL).record())
            if postmaster is not None:
                kill_all([postmaster, *postmaster.children(recursive=True)])
            self.stack.up()
        else:
            name = self._worker_at_work(job_id) if kind.endswith("worker") else kind
            (self.of.stop_worker if kind == "stopped worker" else self.of.kill)(name)
            self.of.start(name)

    def _worker_at_work(self, job_id: int) -> str:
        """Wait until a worker holds a chunk, and return its name."""
        found: list[str] = []

        def look() -> bool:
            holders = self.importing.execute(
                "SELECT holder FROM fm_pipeline.import_chunks WHERE holder IS NOT NULL AND NOT closing"
            )
            groups = set()
            for (holder,) in holders:
                with suppress(ProcessLookupError):
                    groups.add(os.getpgid(int(holder.rpartition(":")[2])))
            found[:] = [name for name, process in self.of.running.items() if process.pid in groups]
            return bool(found) or self.importing.job(job_id).status != "running"

        self.wait(look)
        return found[0] if found else "worker 0"

    def _imported(self, job_id: int, files: int) -> Iterator[str]:
        job = self.importing.job(job_id)
        (rows,) = self.importing.execute(
            "SELECT count(*), count(DISTINCT path_hash), count(DISTINCT orthanc_instance_id),"
            " count(*) FILTER (WHERE status IN ('imported', 'already_there')) FROM fm_pipeline.import_history"
            " WHERE job_id = %s",
            job_id,
        )
        ((chunks, claims),) = self.importing.execute(
            "SELECT count(*), max(fence) FROM fm_pipeline.import_chunks WHERE job_id = %s", job_id
        )
        say(f"{chunks} chunks; the most claims of one: {claims}.")
        yield from broken(
            {
                "job": (job.status, "completed"),
                "instances in Orthanc": (self.importing.instances(), self.expected),
                "rows, paths, instances, stored": (rows, (files,) * 4),
                "processed": (job.files_processed, files),
                "found by the comparison": ((job.instances_expected, job.instances_missing), (files, 0)),
            }
        )

    def leaks(self) -> Iterator[str]:
        """Yield the files of logs and compute logs that have the name of a patient, or a password."""
        secret = (PATIENT.encode(), self.of.redis_password.encode())
        s3 = self.stack.state_dir / "s3"
        logs = [*self.of.folder.glob("*.log"), *self.of.hub.state_dir.rglob("*.log")]
        printed = [path for path in (*s3.rglob("*"), *self.of.folder.glob("broker/append*/*")) if path.is_file()]
        if not any("dagster-logs" in str(path) for path in printed):
            yield "nothing that runs printed is in S3"
        for path in (*logs, *printed):
            if any(each in path.read_bytes() for each in secret):
                yield f"{path} has the name of a patient or a password"

    def unfinished(self) -> list[str]:
        """Return the ids of Dagster's runs that have not ended."""
        return self._select("status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')")

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; PostgreSQL may be away meanwhile."""

        def holds() -> bool:
            try:
                return condition()
            except psycopg2.OperationalError:
                return False

        wait_until(holds, LIMIT_SECONDS)

    def _status(self, run_id: str) -> str:
        ((status,),) = self._query("SELECT status FROM runs WHERE run_id = %s", run_id)
        return str(status)

    def _runs(self, status: str) -> list[str]:
        return self._select("status = %s", status)

    def _chunk_runs(self, status: str) -> list[str]:
        return self._select(
            "status = %s AND run_id IN (SELECT run_id FROM run_tags WHERE key = 'dagster-celery/task_id')", status
        )

    def _select(self, condition: str, *values: object) -> list[str]:
        return [run_id for (run_id,) in self._query(f"SELECT run_id FROM runs WHERE {condition}", *values)]  # noqa: S608

    def _query(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        url = self.stack.service(DisposablePostgreSQL).url(RUNS)
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(question, values or None)
            return cursor.fetchall()

    def _ask(self, session: requests.Session, query: str, **variables: Any) -> dict[str, Any]:
        address = f"{self.of.console.url}/dagster/graphql"
        answer = session.post(address, json={"query": query, "variables": variables}, timeout=60)
        data: dict[str, Any] = answer.json()["data"]
        return data


def broken(expected: dict[str, tuple[object, object]]) -> Iterator[str]:
    """Yield what differs from what was wanted."""
    yield from (f"{what}: {found}, not {wanted}" for what, (found, wanted) in expected.items() if found != wanted)
