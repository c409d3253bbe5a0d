"""Images: the whole link against s5cmd doing the copies alone, and the conversion of an export against pandas.

    python benchmarks/images.py [--json FILE] [--rounds N] [--scale N] [--kilobytes N]

Both sides of a row in turn, on the same server, with the same number of requests at a time; the medians count.
docs/benchmarks.md says more.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import psycopg2
from PIL import Image
from results import Row, options, report

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.images.exports.reader import read_export, write_csv
from fm_pipeline.images.linking.link_images import link_images
from fm_pipeline.images.linking.steps import LinkOptions
from fm_pipeline.images.nexus.patient_index import PatientMatch, read_patient_index
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.sandbox.clinic.fill import fill_nexus
from fm_pipeline.sandbox.clinic.generate import generate_clinic
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.processes import find
from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.sandbox.stack.stack import Stack, temporary_stack
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import Bucket, open_bucket

IMAGES = 6_490
PIXELS_A_BYTE = 4  # of a camera's JPEG, about
NOISE = (0.5, 60.0)  # standard deviation of the pixels, between which the wanted size is found
FORGET = """
TRUNCATE images_image, images_batch, fm_pipeline.image_copies, fm_pipeline.image_files, fm_pipeline.image_metadata;
DELETE FROM fm_pipeline.crosswalk WHERE entity LIKE 'image%';
"""
CONVERSIONS = 20  # in a round: one takes milliseconds


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="how many images; 1 is 6,490")
    parser.add_argument("--kilobytes", type=int, default=512, help="size of an image (default: 512)")
    given = parser.parse_args()
    images = max(round(IMAGES * given.scale), 10)
    with temporary_stack([PostgreSQLService, S3Service]) as stack, TemporaryDirectory() as folder:
        conversion = Conversion(Path(folder), images)
        # Before the clinic fills the memory, which the garbage collector would go through.
        for _ in range(given.rounds):
            conversion.take()
        links = Links(stack, Path(folder), given.scale, given.kilobytes * 1024)
        for number in range(given.rounds):
            links.take(number)
        report("images", [links.row(), conversion.row()], given.json)


@dataclass
class Taken:
    """What one side took, in each round: seconds, and processor seconds of the program and of the S3 server."""

    seconds: list[float] = field(default_factory=list)
    program: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)

    def milliseconds(self, images: int) -> str:
        """The medians for each image, for people."""
        program, server = (1000 * median(values) / images for values in (self.program, self.server))
        rate = images / median(self.seconds)
        return f"{rate:.0f} images/s; CPU time of an image: program {program:.1f} ms, S3 server {server:.1f} ms"


class Links:
    """A Nexus with patients, and their bulk dump of photographs."""

    def __init__(self, stack: Stack, folder: Path, scale: float, size: int) -> None:
        clinic = generate_clinic(scale=scale, images="bulk")
        if clinic.bulk_dump is None:
            raise SystemExit("The clinic has no bulk dump.")
        self._folder, self._dump = folder, clinic.bulk_dump
        given = {name.lower(): value for name, value in stack.environment().items()}
        unused = dict.fromkeys(("filemaker_database", "filemaker_username", "filemaker_password"), "unused")
        self._settings = Settings(
            _env_file=None, filemaker_url="https://unused.example", **unused, **given | {"state_dir": folder}
        )
        self._url = self._settings.nexus_database_url.get_secret_value()
        with closing(psycopg2.connect(self._url)) as connection:
            create_nexus(connection)
            connection.commit()
            fill_nexus(connection, clinic)
        migrate(self._url)
        with connect(self._url) as connection, connection.cursor() as cursor:
            patients = read_patient_index(cursor, read_catalogue(cursor, "public"))
        self._images = [
            image.recid
            for image in clinic.bulk_dump.expected_link().images
            if isinstance(patients.resolve(image.patient.key), PatientMatch)  # a few come with the next reimport
        ]
        self._bucket: Bucket = open_bucket(self._settings)
        self._fill(photograph(size))
        server = find(stack.service(S3Service).record())
        if server is None:
            raise SystemExit("The S3 server has ended.")
        self._server = server
        self._ours, self._theirs = Taken(), Taken()

    def take(self, number: int) -> None:
        """One round; who begins changes."""
        sides = [(self._link, self._ours), (self._copy, self._theirs)]
        for side, taken in sides if number % 2 == 0 else reversed(sides):
            self._measure(side, taken)
            self._s5cmd(f"rm s3://{self._bucket.name}/patients/*\n")

    def row(self) -> Row:
        """In seconds."""
        for name, taken in (("the link", self._ours), ("s5cmd", self._theirs)):
            print(f"{name}: {taken.milliseconds(len(self._images))}", file=sys.stderr)  # noqa: T201
        ours, theirs = median(self._ours.seconds), median(self._theirs.seconds)
        return Row(f"link of {len(self._images):,} images, against s5cmd copying (s)", ours, theirs, 1.6, "at_most")

    def _measure(self, side: Callable[[], None], taken: Taken) -> None:
        started, program, server = time.perf_counter(), _own_seconds(), sum(self._server.cpu_times()[:2])
        side()
        taken.seconds.append(time.perf_counter() - started)
        taken.program.append(_own_seconds() - program)
        taken.server.append(sum(self._server.cpu_times()[:2]) - server)

    def _link(self) -> None:
        with closing(psycopg2.connect(self._url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(FORGET)
        file = self._folder / "Image_DataV6.tab"
        file.write_bytes(self._dump.export())
        done = link_images(
            self._settings,
            self._bucket,
            read_export(file),
            LinkOptions(),
            actor="benchmark",
            now=lambda: datetime.now(UTC),
            warn=sys.exit,
        )
        if done.linked != len(self._images):
            sys.exit("Not every image was linked: there is nothing to compare.")

    def _copy(self) -> None:
        place = f"s3://{self._bucket.name}"
        self._s5cmd(
            "".join(
                f"cp {place}/{self._dump.key(recid)} {place}/patients/{recid % 1_303}/{recid}.jpg\n"
                for recid in self._images
            )
        )

    def _s5cmd(self, commands: str) -> None:
        """Run commands of s5cmd, with as many workers as ours has."""
        settings, secret = self._settings, self._settings.aws_secret_access_key
        environment = {
            "AWS_ACCESS_KEY_ID": settings.aws_access_key_id or "",
            "AWS_SECRET_ACCESS_KEY": secret.get_secret_value() if secret else "",
            "AWS_REGION": settings.aws_region,
            "HOME": str(self._folder),
        }
        command = [
            *(str(Path(sysconfig.get_path("scripts")) / "s5cmd"), "--endpoint-url", settings.s3_endpoint_url or ""),
            *("--numworkers", str(settings.s3_concurrency), "--log", "error", "run"),
        ]
        done = subprocess.run(command, env=environment, input=commands, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            sys.exit("s5cmd failed: there is nothing to compare.")

    def _fill(self, body: bytes) -> None:
        """The bulk dump, by somebody else's client: ours refuses to write there."""
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        settings, secret = self._settings, self._settings.aws_secret_access_key
        client: Any = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint_url,
            aws_access_key_id=settings.aws_access_key_id,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            region_name=settings.aws_region,
            config=Config(request_checksum_calculation="when_required"),
        )
        whole = set(self._images)
        head = 4 + int.from_bytes(body[4:6], "big")  # a comment of its own behind the first segment

        def put(recid: int) -> None:
            comment = b"%d" % recid
            own = body[:head] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + body[head:]
            content = own if recid in whole else self._dump.content(recid)
            client.put_object(Bucket=self._bucket.name, Key=self._dump.key(recid), Body=content)

        there = [record.number for record in self._dump.records if self._dump.odd.get(record.number) != "no_file"]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, there))


class Conversion:
    """An export of the clinic's size, read and written as CSV; pandas only reads it."""

    def __init__(self, folder: Path, records: int) -> None:
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self._records, self._export, self._out = records, folder / "Image_DataV6.tab", folder / "out.csv"
        rng = random.Random(1)  # noqa: S311
        kinds = ["Left Dorsal", "Left Medial", "Gait", "X-ray", "Footwear, both", "Note with\vtwo lines"]

        def line(recid: int) -> str:
            day = f"{rng.randrange(1, 13):02}/{rng.randrange(1, 29):02}/{rng.randrange(2010, 2026)}"
            ids = [str(uuid.UUID(int=rng.getrandbits(128))).upper() for _ in range(2)]
            kind = rng.choices(kinds, weights=[40, 40, 10, 7, 2, 1])[0]
            return "\t".join([day, f"IMG_{recid:05}.JPG", *ids, f"Picture {recid}", "1", str(recid), kind])

        text = "".join(line(recid) + "\r" for recid in range(2, records + 2))
        self._export.write_text(text, "utf-8", newline="")

    def take(self) -> None:
        """One round."""
        for _ in range(CONVERSIONS):
            with self._timed(self.ours):
                export = read_export(self._export)
                write_csv(self._out, export)
            with self._timed(self.theirs):
                frame = pd.read_csv(
                    self._export, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3, encoding="utf-8"
                )
            if len(export) != len(frame):
                sys.exit("pandas and the conversion read different numbers of records: there is nothing to compare.")

    @contextmanager
    def _timed(self, into: list[float]) -> Iterator[None]:
        started = time.perf_counter()
        yield
        into.append(time.perf_counter() - started)

    def row(self) -> Row:
        """In milliseconds."""
        ours, theirs = (1000 * median(seconds) for seconds in (self.ours, self.theirs))
        return Row(f".tab of {self._records:,} to CSV, against pandas.read_csv (ms)", ours, theirs, 2, "at_most")


def photograph(size: int) -> bytes:
    """A JPEG of about so many bytes, with a camera's number of pixels for them."""
    width = round((size * PIXELS_A_BYTE * 4 / 3) ** 0.5)
    height = width * 3 // 4
    rng = np.random.default_rng(1)
    down, across = np.mgrid[0:height, 0:width]
    surface = np.stack([127 + 90 * np.sin(across / 97 + down / (150 + 60 * band)) for band in range(3)], axis=-1)
    grain = rng.normal(0, 1, surface.shape)
    low, high = NOISE
    for _ in range(8):
        middle = (low + high) / 2
        pixels = np.clip(surface + middle * grain, 0, 255).astype(np.uint8)
        file = BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=85)
        low, high = (middle, high) if file.tell() < size else (low, middle)
    return file.getvalue()


def _own_seconds() -> float:
    """Processor seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
