"""The administrator's page knows everything that a row of history can say."""

from __future__ import annotations

import pytest

from fm_pipeline.dicom import reasons
from fm_pipeline.dicom.model import Outcome
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT

TABLES = ("SKIPPED", "ARCHIVES", "BAD", "UNREADABLE", "SUSPECT", "REFUSED", "REPEATED", "WITHHELD", "UNSENT", "STOPPED")
PAGE = (PACKAGE_PARENT / "docs" / "dicom.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", TABLES)
def test_every_reason_is_on_the_page_with_its_sentence(table: str) -> None:
    for reason, sentence in getattr(reasons, table).items():
        assert f"| `{reason}` | {sentence} |" in PAGE


def test_every_outcome_is_on_the_page() -> None:
    assert [outcome for outcome in Outcome if f"| `{outcome}` |" not in PAGE] == []
