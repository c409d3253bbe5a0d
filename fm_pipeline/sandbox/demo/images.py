"""The images of the demo: documents and the bulk dump in S3, a run that links them, and a reimport afterwards.

Files are written directly into the S3 server's folder and read there, so that only the pipeline uses its API.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fm_pipeline.sandbox.clinic.generate import Clinic
from fm_pipeline.sandbox.clinic.nexus.earlier_files import document_content
from fm_pipeline.sandbox.demo.clinic import ComparisonResult
from fm_pipeline.sandbox.demo.linked_images import LinkedImages
from fm_pipeline.sandbox.stack.s3 import BUCKET, S3Service
from fm_pipeline.sandbox.stack.stack import Stack

EXPORT = "Image_DataV6.tab"  # as the clinic's file was called
REPAIR = "statements about images after another reimport hold"


class DemoImages:
    """The images of one demo.

    Args:
        clinic: generated with `images="bulk"`.
    """

    def __init__(self, stack: Stack, clinic: Clinic) -> None:
        self._stack, self._clinic = stack, clinic
        self._folder = stack.service(S3Service).folder
        self._images = LinkedImages(clinic, stack.environment()["NEXUS_DATABASE_URL"], self._folder / BUCKET)
        self._after_link: object = None

    def fill(self) -> dict[str, str]:
        """Write documents, the bulk dump and FileMaker's export; return the settings for the export."""
        documents = self._clinic.truth.before["documents_document"]
        for values in map(documents.values, documents.rows.values()):
            content = document_content(values["id"], values["file_size"])
            _write(self._folder / values["s3_bucket"] / values["s3_key"], content)
        for key, content in self._images.dump.objects():
            _write(self._folder / BUCKET / key, content)
        export = self._stack.state_dir / EXPORT
        export.write_bytes(self._images.dump.export())
        return {"IMAGE_EXPORT_FILE": str(export)}

    def compare_link(self) -> list[ComparisonResult]:
        """Compare Nexus and S3 with the expected link; keep the state of both for `compare_reimport`."""
        self._after_link = self._images.state()
        return self._images.judge()

    def orphan(self) -> int:
        """Simulate an earlier reimport; return how many batches then refer to no patient."""
        return self._images.orphan()

    def compare_reimport(self, report: Mapping[str, Any], orphaned: int) -> list[ComparisonResult]:
        """Check after another reimport that every image is as after the link, and that nothing else was changed.

        Args:
            report: of that reimport.
            orphaned: batches that were orphaned before it.
        """
        relinked, changed = report["image_batches"]["relinked"], report["changed_rows"]
        (records,) = (source["loaded"] for source in report["sources"] if source["entity"] == "image")
        linked = len(self._images.expected.images)
        same = self._images.state() == self._after_link
        return [
            ComparisonResult(
                REPAIR, "orphaned batches repaired", relinked == orphaned, f"{relinked:,} of {orphaned:,}"
            ),
            ComparisonResult(REPAIR, "every row and object as after the link", same, "by digest"),
            ComparisonResult(
                REPAIR, "records of images that Nexus has", records == linked, f"{records:,} of {linked:,}"
            ),
            ComparisonResult(REPAIR, "nothing else changed", changed == orphaned, f"{changed:,} rows"),
        ]


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
