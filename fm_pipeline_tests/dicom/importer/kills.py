"""Kills an import job again and again, and Orthanc under it; then everything must be there once and on record once.

`python -m fm_pipeline_tests.dicom.importer.kills --files 5000 --kills 10 --restarts 2 --seed 1`: exit code 0 if all of
it held.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fm_pipeline.db.migrate import migrate
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.support.orthanc import OwnOrthanc, own_orthanc
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database
from fm_pipeline_tests.support.searching import say
from fm_pipeline_tests.support.services import memory_folder
from fm_pipeline_tests.support.waiting import wait_until

_RUN = "import sys; from fm_pipeline.dicom.importer.run_job import run_job; "
_RUN += "from fm_pipeline.settings import load_settings; "
_RUN += "run_job(load_settings(_env_file=None), int(sys.argv[1]))"
_LIMIT_SECONDS = 600


def killed_import(
    importing: ImportBench,
    orthanc: OwnOrthanc,
    *,
    files: int,
    kills: int,
    restarts: int,
    rng: random.Random,
    say: Callable[[str], object] = lambda _: None,
) -> list[str]:
    """Carry a job out through kills of its process and of Orthanc; the last quarter of its files is in an archive.

    Returns:
        What did not hold; nothing if all did.
    """
    for part in range(4):
        write_series(importing.folder / str(part), files // 4, 4_000, name=f"part {part}", patient_id=f"P{part}")
    shutil.make_archive(str(importing.folder / "last"), "gztar", importing.folder / "3")
    shutil.rmtree(importing.folder / "3")
    job_id = importing.new_job()
    moments = sorted(rng.sample(range(1, max(files * 19 // 20, kills + restarts + 1)), kills + restarts))
    of_orthanc = set(rng.sample(moments, restarts))
    process = started(importing, "-c", _RUN, str(job_id))
    for moment in moments:
        _wait(importing, job_id, moment, process)
        time.sleep(rng.random() * 0.05)  # somewhere between two batches: the moment is what is tried
        if moment in of_orthanc:
            orthanc.kill()
            say(f"Orthanc was killed when {importing.job(job_id).files_processed} files were on record.")
            threading.Thread(target=orthanc.start).start()
            wait_until(orthanc.service.ready, 60)
        else:
            process.kill()
            process.wait()
            if importing.job(job_id).status == "completed":
                say("The import was faster than the last kills.")
                process = subprocess.Popen([sys.executable, "-c", ""])
                break
            say(f"The import was killed when {importing.job(job_id).files_processed} files were on record.")
            process = started(importing, "-c", _RUN, str(job_id))
    process.communicate(timeout=_LIMIT_SECONDS)
    return _broken(importing, job_id, files // 4 * 4, process.returncode)


def _broken(importing: ImportBench, job_id: int, files: int, code: int) -> list[str]:
    job = importing.job(job_id)
    rows = importing.execute(
        "SELECT count(*), count(DISTINCT path_hash), count(DISTINCT orthanc_instance_id), count(DISTINCT file_hash),"
        " count(*) FILTER (WHERE status IN ('imported', 'already_there')), max(sends)"
        " FROM fm_pipeline.import_history WHERE job_id = %s",
        job_id,
    )[0]
    expected = {
        "exit code": (code, 0),
        "job": (job.status, "completed"),
        "instances in Orthanc": (importing.instances(), files),
        # one row more: that of the archive
        "rows, paths, instances, contents, stored": (rows[:5], (files + 1, files + 1, files, files, files)),
        "processed": (job.files_processed, files + 1),
        "found by the comparison": ((job.instances_expected, job.instances_missing), (files, 0)),
        "sent at most twice": (rows[5] <= 2, True),
        "left where archives are unpacked": (list((importing.settings.state_dir / "unpacked").iterdir()), []),
    }
    return [f"{what}: {found}, not {wanted}" for what, (found, wanted) in expected.items() if found != wanted]


def started(importing: ImportBench, *arguments: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
    """Start a process of Python, with the settings in its environment."""
    given = importing.settings.model_dump(exclude_unset=True)
    settings = {
        name.upper(): value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        for name, value in given.items()
    }
    return subprocess.Popen(  # noqa: S603
        [sys.executable, *arguments], cwd=PACKAGE_PARENT, env=os.environ | settings, stdout=stdout
    )


def _wait(importing: ImportBench, job_id: int, processed: int, process: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: importing.job(job_id).files_processed >= processed or process.poll() is not None, _LIMIT_SECONDS)


def main() -> int:
    """One large job, and what came of it."""
    parser = argparse.ArgumentParser(prog="dicom-kills", description=__doc__)
    parser.add_argument("--files", type=int, default=5000, help="how many files the job has")
    parser.add_argument("--kills", type=int, default=10, help="how often its process is killed")
    parser.add_argument("--restarts", type=int, default=2, help="how often Orthanc is killed and started again")
    parser.add_argument("--seed", type=int, default=1, help="decides the moments")
    given = parser.parse_args()
    if not OwnOrthanc.available():
        parser.exit(2, "Orthanc is not installed, so nothing was tried. On Debian: apt-get install orthanc\n")

    with (
        tempfile.TemporaryDirectory(prefix="dicom-kills-") as name,
        temporary_stack([DisposablePostgreSQL], parent=memory_folder()) as stack,
        empty_database(stack.service(DisposablePostgreSQL)) as url,
        own_orthanc() as orthanc,
    ):
        migrate(url)
        folder = Path(name) / "hospital"
        importing = ImportBench(import_settings(url, orthanc.settings(), Path(name) / "state"), folder)
        rng = random.Random(given.seed)  # noqa: S311  # moments, not secrets
        started = time.monotonic()
        broken = killed_import(
            importing, orthanc, files=given.files, kills=given.kills, restarts=given.restarts, rng=rng, say=say
        )
        counts = ", ".join(f"{count} {outcome}" for outcome, count in importing.job(1).outcomes.items() if count)
        say(f"{counts}; {time.monotonic() - started:.0f} s")
    for line in broken:
        say(f"BROKEN: {line}")
    say("Something did not hold." if broken else "All of it held.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
