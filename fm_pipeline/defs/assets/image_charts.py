"""Metadata about all images that Nexus has, for every asset that changes them."""

from __future__ import annotations

from typing import Any

import dagster as dg
from psycopg2.extensions import connection as Connection

from fm_pipeline.defs.assets.plots import images_by_category, images_by_year
from fm_pipeline.images.nexus.statistics import read_statistics
from fm_pipeline.nexus.catalogue.schema import read_catalogue


def image_charts(connection: Connection, schema: str) -> dict[str, Any]:
    """Numbers, which the UI plots over runs, and bar charts by year and category; the charts only if there are images.

    Args:
        schema: where Nexus' tables are.
    """
    with connection.cursor() as cursor:
        statistics = read_statistics(cursor, read_catalogue(cursor, schema))
    charts = {"images_by_year": images_by_year(statistics), "images_by_category": images_by_category(statistics)}
    return {
        "images": statistics.images,
        "batches": statistics.batches,
        "patients_with_images": statistics.patients,
        **{name: dg.MetadataValue.md(chart) for name, chart in charts.items() if chart},
    }
