"""Refuses a release of Nexus whose ids, metadata or times have another type than the pipeline expects."""

from __future__ import annotations

from collections.abc import Collection

from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.schema import Catalogue

_TYPES = {"filemaker_metadata": "jsonb"}  # all others are ids


def refuse_other_types(catalogue: Catalogue, columns: Collection[tuple[str, str]]) -> None:
    """Refuse columns of another type.

    Args:
        columns: ids, and `filemaker_metadata` where it is written, each with its table in Nexus' schema. What the
            schema lacks is ignored.

    Raises:
        CatalogueStop: names each column, its type and the expected one.
    """
    found = []
    for table, name in columns:
        column = catalogue.columns.get(catalogue.table(table), {}).get(name)
        expected = _TYPES.get(name, "uuid")
        if column and column.type != expected:
            found.append(f"{table}.{name} is {column.type} and not {expected}")
    if found:
        raise CatalogueStop(
            f"Columns of Nexus have another type than the pipeline knows: {', '.join(found)}.",
            meaning="Rows could not be recognized by their ids, or their metadata not kept. Nothing was changed.",
            remedy="Tell the maintainers the release of Nexus and these types.",
        )


def refuse_times_without_zone(catalogue: Catalogue, columns: Collection[tuple[str, str]]) -> None:
    """Refuse columns of the type `timestamp without time zone`: nobody knows whose clock they show.

    Args:
        columns: that are written, each with its table in Nexus' schema. What the schema lacks is ignored.

    Raises:
        CatalogueStop: names the columns.
    """
    types = {(table, name): catalogue.columns.get(catalogue.table(table), {}).get(name) for table, name in columns}
    found = [
        f"{table}.{name} is {column.type}"
        for (table, name), column in sorted(types.items())
        if column and column.type.startswith("timestamp") and column.type.endswith("without time zone")
    ]
    if found:
        raise CatalogueStop(
            f"Nexus keeps times without their zone: {', '.join(found)}.",
            meaning="The pipeline would write them in UTC, and Nexus may take them for the clinic's time. Nothing was"
            " changed.",
            remedy="Tell the maintainers the release of Nexus and these columns.",
        )
