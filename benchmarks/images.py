"""Images: copies inside S3 against s5cmd doing the same copies, and the conversion of an export against pandas.

    python benchmarks/images.py [--json FILE] [--rounds N] [--scale N] [--kilobytes N]

Both sides of a row in turn, on the same server, with the same number of requests at a time; the medians count.
docs/benchmarks.md says more.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pandas as pd
from results import Row, report

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.images.exports.metadata_table import MetadataRow
from fm_pipeline.images.exports.reader import read_export, write_csv
from fm_pipeline.images.linking.copier import Copier
from fm_pipeline.images.linking.copy_ledger import record_planned
from fm_pipeline.images.linking.matching import PlannedImage
from fm_pipeline.images.nexus.patient_index import PatientMatch
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import Bucket, open_bucket
from fm_pipeline.storage.client import BULK_PREFIX

IMAGES = 6_490
PATIENTS = 1_303
CONVERSIONS = 20  # in a round: one takes milliseconds
DAY = date(2016, 10, 18)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default: 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="how many images; 1 is 6,490")
    parser.add_argument("--kilobytes", type=int, default=512, help="size of an image (default: 512)")
    given = parser.parse_args()
    images = max(round(IMAGES * given.scale), 10)
    with temporary_stack([PostgreSQLService, S3Service]) as stack, TemporaryDirectory() as folder:
        copies = Copies(stack.environment(), Path(folder), images, given.kilobytes * 1024)
        conversion = Conversion(Path(folder), images)
        for number in range(given.rounds):
            copies.take(number)
            conversion.take()
        report("images", [copies.row(), conversion.row()], given.json)


class Measured:
    """Seconds of both sides."""

    def __init__(self) -> None:
        self.ours: list[float] = []
        self.theirs: list[float] = []

    @contextmanager
    def _timed(self, into: list[float]) -> Iterator[None]:
        started = time.perf_counter()
        yield
        into.append(time.perf_counter() - started)


class Copies(Measured):
    """Copies of a bulk dump, ours with their ledger."""

    def __init__(self, environment: dict[str, str], folder: Path, images: int, size: int) -> None:
        super().__init__()
        self._folder, self._images = folder, images
        given = {name.lower(): value for name, value in environment.items()}
        unused = dict.fromkeys(("filemaker_database", "filemaker_username", "filemaker_password"), "unused")
        self._settings = Settings(_env_file=None, filemaker_url="https://unused.example", **unused, **given)
        self._bucket: Bucket = open_bucket(self._settings)
        _fill(self._settings, images, size)
        self._objects = list(self._bucket.list(BULK_PREFIX))
        self._url = self._settings.nexus_database_url.get_secret_value()
        migrate(self._url)

    def take(self, number: int) -> None:
        """One round: the same copies to two places; who begins changes."""
        sides = [self._take_ours, self._take_s5cmd]
        for side in sides if number % 2 == 0 else reversed(sides):
            side(number)

    def row(self) -> Row:
        """In images per second, so that more is better."""
        ours, theirs = median(self.ours), median(self.theirs)
        print(f"images per second: {self._images / ours:.0f}, s5cmd {self._images / theirs:.0f}", file=sys.stderr)  # noqa: T201
        return Row(f"{self._images:,} copies inside S3, against s5cmd (s)", ours, theirs, 0.9, "at_least")

    def _take_ours(self, number: int) -> None:
        planned = [self._planned(position, number) for position in range(self._images)]
        with connect(self._url) as connection:
            copier = Copier(self._bucket, connection, self._settings.s3_concurrency, lambda: datetime.now(UTC))
            with closing(connection.cursor()) as cursor:
                cursor.execute("DELETE FROM fm_pipeline.image_copies")
                record_planned(cursor, (each.ledger_row() for each in planned), datetime.now(UTC))
            connection.commit()
            with self._timed(self.ours):
                answered, failed = copier.copy(planned)
        if failed or len(answered) != self._images:
            sys.exit("Not every copy of ours was made: there is nothing to compare.")

    def _planned(self, position: int, number: int) -> PlannedImage:
        patient = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{position % PATIENTS}"))
        source = self._objects[position]
        record = MetadataRow(position + 1, position + 1, None, patient, "10/18/2016", DAY, "Left Dorsal", "")
        key = f"patients/{patient}/images/{number}/{source.key.removeprefix(BULK_PREFIX)}"
        return PlannedImage(record, PatientMatch(patient, patient, "nexus_id"), DAY, patient, source, key)

    def _take_s5cmd(self, number: int) -> None:
        settings = self._settings
        commands = self._folder / "copies.txt"
        with commands.open("w") as file:
            for position in range(self._images):
                each = self._planned(position, number)
                target = each.target_key.replace("patients/", "by-s5cmd/", 1)
                file.write(f"cp s3://{settings.s3_bucket}/{each.source.key} s3://{settings.s3_bucket}/{target}\n")
        secret = settings.aws_secret_access_key
        environment = {
            "AWS_ACCESS_KEY_ID": settings.aws_access_key_id or "",
            "AWS_SECRET_ACCESS_KEY": secret.get_secret_value() if secret else "",
            "AWS_REGION": settings.aws_region,
            "HOME": str(self._folder),
        }
        program = Path(sysconfig.get_path("scripts")) / "s5cmd"
        workers = str(settings.s3_concurrency)
        command = [
            *(str(program), "--endpoint-url", settings.s3_endpoint_url or "", "--numworkers", workers),
            *("--log", "error", "run", str(commands)),
        ]
        with self._timed(self.theirs):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        copied = sum(1 for found in self._bucket.list("by-s5cmd/") if f"/images/{number}/" in found.key)
        if done.returncode or copied != self._images:
            sys.exit("Not every copy of s5cmd was made: there is nothing to compare.")


class Conversion(Measured):
    """An export of the clinic's size, read and written as CSV; pandas only reads it."""

    def __init__(self, folder: Path, records: int) -> None:
        super().__init__()
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

    def row(self) -> Row:
        """In milliseconds."""
        ours, theirs = (1000 * median(seconds) for seconds in (self.ours, self.theirs))
        return Row(f".tab of {self._records:,} to CSV, against pandas.read_csv (ms)", ours, theirs, 2, "at_most")


def _fill(settings: Settings, images: int, size: int) -> None:
    """The bulk dump, by somebody else's client: ours refuses to write there."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    secret = settings.aws_secret_access_key
    client = boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        aws_access_key_id=settings.aws_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        region_name=settings.aws_region,
        config=Config(request_checksum_calculation="when_required"),
    )
    body = random.Random(1).randbytes(size)  # noqa: S311

    def put(recid: int) -> None:
        client.put_object(Bucket=settings.s3_bucket or "", Key=f"{BULK_PREFIX}{recid}.jpg", Body=body + b"%d" % recid)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(2, images + 2)))


if __name__ == "__main__":
    main()
