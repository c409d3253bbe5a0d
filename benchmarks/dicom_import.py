"""Importing files of one size into a fresh Orthanc: ours, a bare loop that only posts, and the way of Orthanc's sample.

Each way runs in a process of its own, so that its memory can be measured, against an Orthanc and a ledger of its own.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import psutil
import requests
from one_reimport import peak_memory_mb
from results import Row

from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.history.jobs import create_job
from fm_pipeline.dicom.importer.run_job import run_job
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.processes import find
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.settings import load_settings

FILES, FILE_BYTES, ROUNDS, THREADS = 600, 512 * 1024, 3, 4
MEMORY_LIMIT_MB = 200
NOT_ASKED = ("FILEMAKER_DATABASE", "FILEMAKER_USERNAME", "FILEMAKER_PASSWORD")


def import_rows(
    *, files: int = FILES, size: int = FILE_BYTES, rounds: int = ROUNDS, note: Callable[[str], object] = lambda _: None
) -> list[Row]:
    """The rows of the import: seconds for all files, the median of some rounds; and the most memory that ours had.

    Args:
        note: told what each way took, with its peak memory, and the processor time that it and its Orthanc needed.
    """
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    memory = 0.0
    with tempfile.TemporaryDirectory() as folder:
        write_series(Path(folder) / "files", files, size)
        for number in range(rounds):
            for way in WAYS if number % 2 else reversed(WAYS):
                measured = _in_a_process(way, Path(folder) / "files")
                seconds[way].append(measured["seconds"])
                memory = max(memory, measured["memory"]) if way == "ours" else memory
                note(
                    f"{way}: {files / measured['seconds']:.0f} files/s, {measured['memory']:.0f} MB at most; processor"
                    f" time of a file {measured['processor'] / files * 1000:.2f} ms,"
                    f" and Orthanc's {measured['orthanc'] / files * 1000:.2f} ms"
                )
    took = {way: median(each) for way, each in seconds.items()}
    what = f"import of {files} files of {size // 1024} KB, s"
    return [
        Row(f"{what}, against a bare loop of {THREADS} threads", took["ours"], took["bare"], 0.9, "at_least"),
        Row(f"{what}, against one connection a file", took["ours"], took["sample"], 3, "at_least"),
        Row(
            "most memory of an import, MB, against its limit",
            memory,
            MEMORY_LIMIT_MB,
            1,
            "at_most",
        ),
    ]


def ours(folder: Path) -> None:
    """An import job, with ledger, hashes and comparison."""
    settings = load_settings(_env_file=None)
    job = create_job(settings.nexus_database_url.get_secret_value(), str(folder), "initial", requested_by="benchmark")
    done = run_job(settings, job.id)
    expect(done.files_imported == len(list(folder.iterdir())))


def bare(folder: Path) -> None:
    """Threads with kept-open connections that only post."""
    url, login = os.environ["ORTHANC_URL"], (os.environ["ORTHANC_USERNAME"], os.environ["ORTHANC_PASSWORD"])
    own = threading.local()

    def post(path: Path) -> None:
        if not hasattr(own, "session"):
            own.session = requests.Session()
            own.session.trust_env = False  # it would look for .netrc at each request
            own.session.auth = login
        expect(own.session.post(f"{url}/instances", data=path.read_bytes(), timeout=60).status_code == 200)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(post, sorted(folder.iterdir())))


def sample(folder: Path) -> None:
    """One file after the other, each over a new connection, as Orthanc's ImportDicomFiles.py does.

    That reads the whole file and makes an `httplib2.Http` for each. This is `http.client`, on which httplib2 stands,
    so it is a little faster.
    """
    address = urlsplit(os.environ["ORTHANC_URL"]).netloc
    login = f"{os.environ['ORTHANC_USERNAME']}:{os.environ['ORTHANC_PASSWORD']}"
    headers = {
        "Content-Type": "application/dicom",
        "Authorization": "Basic " + base64.b64encode(login.encode()).decode(),
    }
    for path in sorted(folder.iterdir()):
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.request("POST", "/instances", path.read_bytes(), headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        expect(answer.status == 200)


WAYS: dict[str, Callable[[Path], None]] = {"ours": ours, "bare": bare, "sample": sample}


def expect(held: bool) -> None:
    """A way that does not do its work must not be compared."""
    if not held:
        raise SystemExit("A file was not stored.")


def _in_a_process(way: str, folder: Path) -> dict[str, float]:
    with _servers() as (environment, orthanc):
        command = [sys.executable, __file__, way, str(folder)]
        before = sum(orthanc.cpu_times()[:2])
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)  # noqa: S603
        measured: dict[str, float] = json.loads(done.stdout)
        return {**measured, "orthanc": sum(orthanc.cpu_times()[:2]) - before}


@contextmanager
def _servers() -> Iterator[tuple[dict[str, str], psutil.Process]]:
    """A fresh Orthanc and a fresh ledger: their settings, and Orthanc's process."""
    with temporary_stack([PostgreSQLService, OrthancService]) as stack:
        settings = stack.environment()
        migrate(settings["NEXUS_DATABASE_URL"])
        nobody = {"FILEMAKER_URL": "http://127.0.0.1:1", **dict.fromkeys(NOT_ASKED, "none")}
        process = find(stack.service(OrthancService).record())
        if process is None:
            raise SystemExit("Orthanc has ended.")
        yield os.environ | settings | nobody, process


def main(way: str, folder: str) -> None:
    """One way, measured: prints one JSON object."""
    started, processor = time.perf_counter(), time.process_time()
    WAYS[way](Path(folder))
    took = {"seconds": time.perf_counter() - started, "processor": time.process_time() - processor}
    json.dump({**took, "memory": peak_memory_mb()}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
