"""`python -m fm_pipeline_tests.images.linking.kills --count 30 --seed 1`: the link of images, killed at random moments.

Each round adds images to the bulk dump, starts the command in a process of its own, kills it with SIGKILL at some
request to S3 or shortly behind it, and looks whether anything is there twice, lost, overwritten, or shown without its
file. The next round goes on from there; the last run finishes, and one more finds nothing to do.
"""

from __future__ import annotations

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

from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.sandbox.stack.waiting import wait_until
from fm_pipeline.storage.client import BULK_PREFIX
from fm_pipeline_tests.images.scene import Scene
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import migration_bench, small_clinic
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database
from fm_pipeline_tests.support.proxies.s3_proxy import S3Proxy, s3_proxy
from fm_pipeline_tests.support.searching import count_and_seed, say
from fm_pipeline_tests.support.services import memory_folder

NEW_IMAGES = 6  # a round
LISTINGS = 10  # requests of an undisturbed run beside the three for each image: content, thumbnail, copy
LIMIT_SECONDS = 300
LONGEST_AFTERWARDS = 0.3  # seconds between a request and the kill: the ledger and Nexus have their turn then


@dataclass
class Ledger:
    """What came of the rounds."""

    killed: int = 0
    ended_before: int = 0
    found: Counter[str] = field(default_factory=Counter)


class Kills:
    """A scene behind a proxy that counts requests."""

    def __init__(self, scene: Scene, proxy: S3Proxy) -> None:
        self.scene, self.proxy = scene, proxy
        scene.bench = scene.bench.with_settings(s3_endpoint_url=proxy.url, s3_concurrency=3)
        self._next = 2

    def add_images(self) -> None:
        """New files of the bulk dump, of several patients and days."""
        for _ in range(NEW_IMAGES):
            recid, self._next = self._next, self._next + 1
            self.scene.add(recid, patient=recid % 3, date=f"10/{1 + recid % 4:02}/2016")

    def start(self) -> subprocess.Popen[bytes]:
        """The command."""
        command = [sys.executable, "-m", "fm_pipeline", "images", "link", str(self.scene.export_file), "--dates", "mdy"]
        environment = {**os.environ, **self.scene.bench.environment()}
        folder = self.scene.folder
        return subprocess.Popen(  # noqa: S603  # our own command
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def kill_one(self, moment: int, afterwards: float) -> bool:
        """Start and kill it; False if it had ended before."""
        before = self.scene.s3.objects("patients/")
        self.proxy.seen.clear()
        process = self.start()
        try:
            assert wait_until(
                lambda: process.poll() is not None or len(self.proxy.seen) >= moment, LIMIT_SECONDS, every_seconds=0.001
            ), "the run hangs"
            time.sleep(afterwards)
            ended = process.poll() is not None
            assert not ended or process.returncode == 0, process.communicate()[0].decode()
        finally:
            process.kill()
            process.communicate()
        self.proxy.finish()
        assert wait_until(self._no_session, LIMIT_SECONDS), "PostgreSQL keeps the session of a dead run"
        self._check_only_the_rest_was_copied(before)
        return not ended

    def finish(self) -> str:
        """An undisturbed run; what it prints."""
        before = self.scene.s3.objects("patients/")
        self.proxy.seen.clear()
        process = self.start()
        output = process.communicate(timeout=LIMIT_SECONDS)[0].decode()
        assert process.returncode == 0, output
        self._check_only_the_rest_was_copied(before)
        return output

    def check(self) -> Counter[str]:
        """What must hold at any moment; the states of the ledger."""
        scene = self.scene
        objects = scene.s3.objects()
        bulk = {key: value for key, value in objects.items() if key.startswith(BULK_PREFIX)}
        assert set(bulk) == {f"{BULK_PREFIX}{row.recid}.jpg" for row in scene.rows}
        rows = scene.bench.execute(
            "SELECT i.original_name, i.s3_key, i.s3_thumbnail_key, b.object_id::text FROM images_image i"
            " JOIN images_batch b ON b.id = i.batch_id"
        )
        assert len({name for name, *_ in rows}) == len(rows), "an image is there twice"
        owners = {f"{row.recid}.jpg": row.patient.lower() for row in scene.rows}
        keys = {own_id: key.lower() for own_id, key in scene.patients}
        for name, key, thumbnail, patient in rows:
            assert objects.get(key) == bulk[BULK_PREFIX + name], "an image is shown without its file"
            assert thumbnail in objects, "an image is shown without its thumbnail"
            assert keys[patient] == owners[name], "an image is shown to the wrong patient"
        assert scene.bench.execute(
            "SELECT count(*) FROM images_batch b WHERE image_count <> (SELECT count(*) FROM images_image i"
            " WHERE i.batch_id = b.id)"
        ) == [(0,)], "a batch counts wrong"
        states: Counter[str] = Counter()
        for recid, state, target in scene.bench.execute(
            "SELECT recid, state, target_key FROM fm_pipeline.image_copies"
        ):
            states[state] += 1
            if state in {"copied", "verified", "linked"}:
                assert objects.get(target) == bulk[f"{BULK_PREFIX}{recid}.jpg"], "the ledger says more than S3"
            assert (state == "linked") == (f"{recid}.jpg" in {name for name, *_ in rows}), "ledger and Nexus disagree"
        return states

    def _no_session(self) -> bool:
        rows = self.scene.bench.execute(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'fm_pipeline' AND datname = current_database()"
        )
        return not rows

    def _check_only_the_rest_was_copied(self, before: dict[str, tuple[int, str]]) -> None:
        copied = [each.path.split("/", 2)[2] for each in self.proxy.seen if each.copies]
        assert not set(copied) & set(before), "what was there was copied again"
        assert len(set(copied)) == len(copied), "a copy was made twice in one run"


def kill_rounds(kills: Kills, count: int, rng: random.Random, say: Callable[[str], object]) -> Ledger:
    """Kill, look, and at the end finish.

    Raises:
        AssertionError: something is there twice, lost, overwritten, or shown without its file.
    """
    ledger = Ledger()
    for number in range(1, count + 1):
        kills.add_images()
        waiting = len(kills.scene.rows) - len(kills.scene.images())
        moment, afterwards = rng.randrange(1, LISTINGS + 3 * waiting), rng.uniform(0, LONGEST_AFTERWARDS)
        killed = kills.kill_one(moment, afterwards)
        ledger.killed += killed
        ledger.ended_before += not killed
        states = kills.check()
        ledger.found += states
        words = ", ".join(f"{amount} {state}" for state, amount in sorted(states.items()))
        say(f"{number:3}  at request {moment:2} + {afterwards * 1000:3.0f} ms: {words or 'nothing planned'}")
    kills.finish()
    states = kills.check()
    assert states == Counter(linked=len(kills.scene.rows)), f"not all is linked: {states}"
    digests, objects = kills.scene.bench.digests(), kills.scene.s3.objects()
    kills.finish()
    assert kills.scene.bench.digests() == digests, "a run with nothing to do wrote to Nexus"
    assert kills.scene.s3.objects() == objects, "a run with nothing to do wrote to S3"
    return ledger


def main() -> None:
    """Kill and tell."""
    given = count_and_seed("kills-link", __doc__, count=30, of="rounds", seed="decides the moments").parse_args()
    with (
        temporary_stack([DisposablePostgreSQL, S3Service], parent=memory_folder()) as stack,
        empty_database(stack.service(DisposablePostgreSQL)) as url,
        tempfile.TemporaryDirectory(prefix="kills-") as folder,
        migration_bench(url, Path(folder), small_clinic()) as bench,
    ):
        scene = Scene(bench, BucketBench(stack.service(S3Service)), Path(folder))
        with s3_proxy(str(scene.bench.settings.s3_endpoint_url)) as proxy:
            ledger = kill_rounds(Kills(scene, proxy), given.count, random.Random(given.seed), say)  # noqa: S311
    say(
        f"{ledger.killed} killed, {ledger.ended_before} had ended before; nothing twice, nothing lost, nothing"
        f" overwritten, no image without its file. Seen in the ledger after the kills: {dict(ledger.found)}"
    )


if __name__ == "__main__":
    main()
