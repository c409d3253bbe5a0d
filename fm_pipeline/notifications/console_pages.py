"""The addresses of the console's pages to which emails and Dagster's pages lead."""

from __future__ import annotations

from fm_pipeline.settings import Settings

PLAN_PAGE = "/settings/data-management/plans/{}"
RUN_PAGE = "/settings/data-management/runs/{}"
DICOM_PAGE = "/settings/dicom"
SYNC_PAGE = "/settings/sync/"
EXPECTED_PAGE = "/settings/maintenance/"


def console_address(settings: Settings, page: str) -> str | None:
    """Return the whole address of a page; None without CONSOLE_URL, since nobody knows then where people open it."""
    return f"{settings.console_url}{page}" if settings.console_url else None
