"""Every reason that a row or a job can have is explained."""

from __future__ import annotations

import pytest

from fm_pipeline.dicom import reasons
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT


@pytest.mark.parametrize(
    "table",
    [
        reasons.ARCHIVES,
        reasons.SUSPECT,
        reasons.REFUSED,
        reasons.REPEATED,
        reasons.UNSENT,
        reasons.NOT_TAKEN,
        reasons.STOPPED,
        reasons.WAITING,
    ],
)
def test_the_reasons_of_the_import_are_in_the_page_and_are_sentences(table: dict[str, str]) -> None:
    page = (PACKAGE_PARENT / "docs" / "dicom.md").read_text("utf-8")
    for reason, sentence in table.items():
        assert f"`{reason}`" in page, reason
        assert sentence.endswith(".")
        assert reasons.sentence(reason) == sentence
