"""`python -m fm_pipeline_tests.images.containers.kills --count 30 --seed 1`: the import, killed at random moments.

Each round adds images, starts the command in a process of its own, kills it with SIGKILL at some request to FileMaker
or shortly behind it, and looks whether anything is there twice, lost, or marked without its file. A last run finishes.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.sandbox.stack.waiting import wait_until
from fm_pipeline_tests.images.containers.clinic import ImageClinic, image_clinic
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.pictures import picture
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database
from fm_pipeline_tests.support.searching import count_and_seed, say
from fm_pipeline_tests.support.services import memory_folder

NEW_IMAGES = 6  # a round
REQUESTS = 4 + 5 * NEW_IMAGES  # about what an undisturbed run of them sends
LIMIT_SECONDS = 300
LONGEST_AFTERWARDS = 0.06  # seconds between a request and the kill: S3 and Nexus have their turn then


@dataclass
class Ledger:
    """What came of the rounds."""

    killed: int = 0
    ended_before: int = 0
    found: Counter[str] = field(default_factory=Counter)


def kill_rounds(clinic: ImageClinic, count: int, rng: random.Random, on_message: Callable[[str], object]) -> Ledger:
    """Kill, look, and at the end finish.

    Raises:
        AssertionError: something is there twice, lost, or marked too early.
    """
    ledger = Ledger()
    pictures: dict[str, bytes] = {}
    for number in range(1, count + 1):
        for _ in range(NEW_IMAGES):
            own = len(pictures) + 1
            pictures[clinic.add(own)] = picture(own)
        moment, afterwards = rng.randrange(1, REQUESTS), rng.uniform(0, LONGEST_AFTERWARDS)
        if _killed(clinic, moment, afterwards):
            ledger.killed += 1
        else:
            ledger.ended_before += 1
        clinic.check()
        states = Counter(state for state, _ in clinic.states().values())
        for state in ("listed", "uploaded", "linked"):
            ledger.found[state] += states[state]
        on_message(
            f"{number:3}  at request {moment:2} + {afterwards * 1000:2.0f} ms: "
            + ", ".join(map(_words, states.items()))
        )
    _finish(clinic, pictures)
    return ledger


def _words(state: tuple[str, int]) -> str:
    return f"{state[1]} {state[0]}"


def _killed(clinic: ImageClinic, moment: int, afterwards: float) -> bool:
    """Start the command and kill it; False if it had ended before."""
    clinic.stand_in.reset_counters()
    process = _start(clinic)
    try:
        assert wait_until(
            lambda: process.poll() is not None or sum(clinic.stand_in.counters()["requests"].values()) >= moment,
            LIMIT_SECONDS,
        ), "the run hangs"
        time.sleep(afterwards)
        ended = process.poll() is not None
        assert not ended or process.returncode == 0, process.communicate()[0]
    finally:
        process.kill()
        process.communicate()
    assert wait_until(lambda: not _sessions(clinic), LIMIT_SECONDS), "PostgreSQL keeps the session of a dead run"
    return not ended


def _start(clinic: ImageClinic) -> subprocess.Popen[bytes]:
    given = clinic.settings.model_dump(exclude_unset=True)
    settings = {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in given.items()
    }
    command = [sys.executable, "-m", "fm_pipeline", "images", "import", "--batch-size", "3"]
    return subprocess.Popen(  # noqa: S603 - our own command
        command,
        env={**os.environ, **settings},
        cwd=clinic.settings.state_dir.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _sessions(clinic: ImageClinic) -> bool:
    """Whether PostgreSQL has not noticed the end of the killed run yet."""
    rows = clinic.execute(
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'fm_pipeline' AND datname = current_database()"
    )
    return bool(rows)


def _finish(clinic: ImageClinic, pictures: dict[str, bytes]) -> None:
    """The last run is left alone. Then everything is there once, with the right bytes, and marked."""
    report = clinic.run()
    assert report.stopped is None
    clinic.check()
    assert len(clinic.marked()) == len(pictures), "not every record is marked"
    images, files = clinic.images(), clinic.files()
    assert {own_id for own_id, _, _ in images} == set(pictures), "an image is missing in Nexus"
    assert {key for _, key, _ in images} == set(files), "a file is there that no row names"
    for own_id, key, patient in images:
        digest = hashlib.md5(pictures[own_id], usedforsecurity=False).hexdigest()
        assert files[key][1].strip('"') == digest, "a file has the bytes of another"
        assert f"/{patient}/" in key, "a file lies in another patient's folder"


def main() -> int:
    """Kill imports and tell what came of it."""
    arguments = count_and_seed(
        "kills-waterfall",
        "Kill imports of images at random moments.",
        count=30,
        of="rounds",
        seed="decides the moments",
    ).parse_args()
    rng = random.Random(arguments.seed)  # noqa: S311  # moments, not secrets
    with (
        temporary_stack([DisposablePostgreSQL, S3Service], parent=memory_folder()) as stack,
        empty_database(stack.service(DisposablePostgreSQL)) as url,
        tempfile.TemporaryDirectory(prefix="kills-") as folder,
        image_clinic(url, Path(folder), BucketBench(stack.service(S3Service))) as clinic,
    ):
        ledger = kill_rounds(clinic, arguments.count, rng, say)
    say(
        f"{ledger.killed} killed, {ledger.ended_before} ended before; nothing twice, nothing lost, no mark without its"
        f" file. Found half done: {', '.join(f'{number} {state}' for state, number in ledger.found.items())}."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
