"""Count the images of Nexus by year and by category.

A category is text that somebody typed in FileMaker, so a rare one may identify a patient. Only categories that several
patients share are named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.table_names import BATCHES, IMAGES

IN_COMMON = 5  # patients
UNDATED, RARE, NO_CATEGORY = "no date", "rarer ones", "none"


@dataclass(frozen=True)
class ImageStatistics:
    """Counts; the years in their order, the categories most first, the sum of the rare ones last."""

    images: int
    batches: int
    patients: int
    by_year: Mapping[str, int] = field(default_factory=dict)
    by_category: Mapping[str, int] = field(default_factory=dict)


def read_statistics(cursor: Cursor, catalogue: Catalogue) -> ImageStatistics:
    """Count what Nexus has now."""
    images, batches = catalogue.table(IMAGES), catalogue.table(BATCHES)
    columns = catalogue.columns[images]
    taken = next((name for name in ("date_taken", "captured_date", "filemaker_date") if name in columns), None)
    category = next((name for name in ("category", "filemaker_type") if name in columns), None)
    owner = "object_id" if "object_id" in catalogue.columns[batches] else "patient_id"
    source = sql.SQL("FROM {} i LEFT JOIN {} b ON b.id = i.batch_id").format(images.identifier, batches.identifier)
    cursor.execute(
        sql.SQL("SELECT count(*), count(DISTINCT b.id), count(DISTINCT b.{}) {}").format(sql.Identifier(owner), source)
    )
    all_images, all_batches, all_patients = cursor.fetchone() or (0, 0, 0)
    years: dict[str, int] = {}
    if taken:
        cursor.execute(
            sql.SQL("SELECT extract(year FROM i.{})::int AS year, count(*) {} GROUP BY 1 ORDER BY 1 NULLS LAST").format(
                sql.Identifier(taken), source
            )
        )
        years = {UNDATED if year is None else str(year): number for year, number in cursor.fetchall()}
    categories: dict[str, int] = {}
    if category:
        cursor.execute(
            sql.SQL(
                "SELECT coalesce(btrim(i.{category}), ''), count(*), count(DISTINCT b.{owner}) {source}"
                " GROUP BY 1 ORDER BY 2 DESC, 1"
            ).format(category=sql.Identifier(category), owner=sql.Identifier(owner), source=source)
        )
        rare = 0
        for name, number, patients in cursor.fetchall():
            if patients >= IN_COMMON or not name:
                categories[name or NO_CATEGORY] = number
            else:
                rare += number
        if rare:
            categories[RARE] = rare
    return ImageStatistics(all_images, all_batches, all_patients, years, categories)
