"""Ways to bring a folder of DICOM files into Orthanc, each measured in a process of its own.

Each process prints one JSON object: seconds and processor seconds, and how the memory of the process grew.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import requests
from one_reimport import peak_memory_mb

from fm_pipeline.dicom.history.jobs import create_job
from fm_pipeline.dicom.importer.run_job import run_job
from fm_pipeline.settings import load_settings

THREADS = 4


class Memory:
    """How much memory this process has at the first of its reports after some files, and how much at most later."""

    def __init__(self, after: int) -> None:
        self._after, self._then, self._most = after, 0.0, 0.0

    def __call__(self, name: str, done: int, total: int | None = None, *, errors: int = 0, note: str = "") -> None:
        """Take the report of a job's progress."""
        if name == "import" and done >= self._after:
            now = memory_mb()
            self._then, self._most = self._then or now, max(self._most, now)

    @property
    def growth(self) -> float:
        """MB from the first to the largest."""
        return self._most - self._then


def ours(folder: Path, memory: Memory) -> None:
    """An import job, with ledger, hashes and comparison."""
    settings = load_settings(_env_file=None)
    job = create_job(settings.nexus_database_url.get_secret_value(), str(folder), "initial", requested_by="benchmark")
    done = run_job(settings, job.id, on_progress=memory)
    expect(done.files_imported == len(list(folder.iterdir())))


def bare(folder: Path, _: Memory) -> None:
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


def sample(folder: Path, _: Memory) -> None:
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


def pyorthanc(folder: Path, _: Memory) -> None:
    """The function of that library for a folder."""
    from pyorthanc import Orthanc, upload  # noqa: PLC0415  # no dependency of this project

    client = Orthanc(*(os.environ[f"ORTHANC_{name}"] for name in ("URL", "USERNAME", "PASSWORD")))
    expect(len(upload(client, folder, recursive=True)) == len(list(folder.iterdir())))


def dcmsend(folder: Path, _: Memory) -> None:
    """DCMTK's program for many files, over DICOM."""
    _over_dicom("dcmsend", "+sd", "-nuc", folder=folder)


def storescu(folder: Path, _: Memory) -> None:
    """DCMTK's older program, over DICOM."""
    _over_dicom("storescu", "+sd", folder=folder)


def _over_dicom(program: str, *options: str, folder: Path) -> None:
    address = "127.0.0.1", os.environ["ORTHANC_DICOM_PORT"]
    subprocess.run([program, *options, *address, str(folder)], check=True, stdout=subprocess.DEVNULL)  # noqa: S603


WAYS: dict[str, Callable[[Path, Memory], None]] = {
    "ours": ours,
    "bare": bare,
    "sample": sample,
    "pyorthanc": pyorthanc,
    "dcmsend": dcmsend,
    "storescu": storescu,
}


def expect(held: bool) -> None:
    """A way that does not do its work must not be compared."""
    if not held:
        raise SystemExit("A file was not stored.")


def memory_mb() -> float:
    """What this process has in memory now."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) / 1024 if found else 0.0


def main(way: str, folder: str, after: str) -> None:
    """One way, measured."""
    memory = Memory(int(after))
    started, processor = time.perf_counter(), time.process_time()
    WAYS[way](Path(folder), memory)
    program = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = {
        "seconds": time.perf_counter() - started,
        "processor": time.process_time() - processor + program.ru_utime + program.ru_stime,
    }
    json.dump({**took, "memory": peak_memory_mb(), "growth": memory.growth}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
