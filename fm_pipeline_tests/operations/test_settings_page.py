"""The page of all settings is what the settings are."""

from __future__ import annotations

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP
from fm_pipeline.settings import Settings
from fm_pipeline_tests.operations.settings_page import PAGE, settings_page


def test_the_page_of_the_settings_is_what_their_types_and_comments_say() -> None:
    page = PAGE.read_text("utf-8")
    assert page == settings_page((TOP / ".env.example").read_text("utf-8")), "run scripts/settings"
    assert [name for name in Settings.model_fields if f"| `{name.upper()}` |" not in page] == []
    assert "| `NEXUS_LOCK_TIMEOUT_SECONDS` | number, above 0, at most 600 | `20` |" in page
    assert "| `NEXUS_LETTERS` | `delete`, `keep` | `delete` |" in page
    assert "| `BACKUP_KEY` | secret |  |" in page
    assert "| `S3_BUCKET` | text |  | `images import`, `images link`, `images reconcile` |" in page
    assert "| `ORTHANC_URL` | text |  | `dicom import` |" in page
