"""Metadata that several assets show on Dagster's pages."""

from __future__ import annotations

from typing import Any

import dagster as dg

from fm_pipeline.notifications.console_pages import console_address
from fm_pipeline.settings import Settings


def console_link(settings: Settings, page: str) -> dict[str, Any]:
    """Metadata that leads to a page of the console; none without CONSOLE_URL."""
    address = console_address(settings, page)
    return {"console_page": dg.MetadataValue.url(address)} if address else {}


def row_count(rows: int, **more: Any) -> dict[str, Any]:
    """Metadata with the row count where Dagster looks for it (it plots it over runs)."""
    return {"dagster/row_count": rows, **more}
