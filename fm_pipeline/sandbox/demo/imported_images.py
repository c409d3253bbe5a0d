"""The images of the demo in FileMaker's containers: a run imports them, and the result is compared."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import psycopg2

from fm_pipeline.sandbox.clinic.filemaker.containers import expected_import
from fm_pipeline.sandbox.clinic.generate import Clinic
from fm_pipeline.sandbox.demo.clinic import ComparisonResult
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.stack.filemaker import DATABASE, FileMakerService
from fm_pipeline.sandbox.stack.s3 import BUCKET, S3Service
from fm_pipeline.sandbox.stack.stack import Stack

IMPORT = "statements about the import from FileMaker's containers hold"
JOB, ASSET = "import_image_files", "filemaker_image_files"
SETTINGS = {"FILEMAKER_IMAGE_REST_SECONDS": "0"}  # the stand-in does not tire
_TABLE, _MARK = "Images", "NexusExportDate"
_IMPORTED = (
    "SELECT i.s3_key, i.file_size FROM images_image i JOIN fm_pipeline.waterfall_images w ON w.image_id = i.id"
    " WHERE w.state = 'marked'"
)


def compare_import(stack: Stack, clinic: Clinic, metadata: Mapping[str, Any]) -> list[ComparisonResult]:
    """Compare the run, Nexus, S3 and FileMaker with the expected import.

    Args:
        metadata: of the asset, by label.
    """
    expected = expected_import(clinic.truth.images)
    whole = expected.containers.total()
    with closing(psycopg2.connect(stack.environment()["NEXUS_DATABASE_URL"])) as connection:
        cursor = connection.cursor()
        cursor.execute(_IMPORTED)
        rows = cursor.fetchall()
    folder = stack.service(S3Service).folder / BUCKET
    stored = sum((folder / key).is_file() and (folder / key).stat().st_size == size for key, size in rows)
    passed_over = sum(metadata["passed_over"].values())
    unmarked = _unmarked(stack)
    shown = all(f"{name.replace('_', chr(92) + '_')} (" in metadata["containers"] for name in expected.containers)
    return [
        ComparisonResult(
            IMPORT, "imported", metadata["dagster/row_count"] == len(rows) == whole, f"{len(rows):,} of {whole:,}"
        ),
        ComparisonResult(IMPORT, "files in S3, of the size of their row", stored == whole, f"{stored:,} of {whole:,}"),
        ComparisonResult(
            IMPORT, "better containers passed over", passed_over == expected.passed_over, f"{passed_over:,}"
        ),
        ComparisonResult(IMPORT, "containers in the plot", shown, f"{len(expected.containers)} of them used"),
        ComparisonResult(
            IMPORT, "records without a mark", unmarked == expected.empty, f"{unmarked:,} without any picture"
        ),
    ]


def _unmarked(stack: Stack) -> int:
    """Count FileMaker's image records without a mark."""
    with closing(Store(stack.service(FileMakerService).state_file)) as store:
        table = store.table(DATABASE, _TABLE)
        with store.reading() as connection:
            found = connection.execute(f"SELECT count(*) FROM {table.rows} WHERE {table.column(_MARK)} = ''")  # noqa: S608
            return int(found.fetchone()[0])
