"""Refuses a release of Nexus whose ids, metadata or times have another type than the pipeline expects."""

from __future__ import annotations

import re
from collections.abc import Collection

from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.schema import Catalogue

_TYPES = {"filemaker_metadata": "jsonb"}  # all others are ids
_POINTS = ("_at", "_time")  # how the names of columns with points in time end


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
    """Refuse columns of the type `timestamp without time zone`, because nobody knows whose clock they show.

    A column whose name says that it is a point in time (`start_time`, `created_at`) is refused as `date` or `time` too.

    Args:
        columns: that are written, each with its table in Nexus' schema. What the schema lacks is ignored.

    Raises:
        CatalogueStop: names the columns.
    """
    types = {(table, name): catalogue.columns.get(catalogue.table(table), {}).get(name) for table, name in columns}
    given = [(table, name, column.type) for (table, name), column in sorted(types.items()) if column]
    if found := [
        f"{table}.{name} is {type_}" for table, name, type_ in given if name.endswith(_POINTS) and _is_part(type_)
    ]:
        raise CatalogueStop(
            f"Nexus keeps only a part of points in time: {', '.join(found)}.",
            meaning="FileMaker's times would lose their day or their time of day. Nothing was changed.",
            remedy="Tell the maintainers the release of Nexus and these columns.",
        )
    if found := [
        f"{table}.{name} is {type_}"
        for table, name, type_ in given
        if type_.startswith("timestamp") and type_.endswith("without time zone")
    ]:
        raise CatalogueStop(
            f"Nexus keeps times without their zone: {', '.join(found)}.",
            meaning="The pipeline would write them in UTC, and Nexus may take them for the clinic's time. Nothing was"
            " changed.",
            remedy="Tell the maintainers the release of Nexus and these columns.",
        )


def refuse_days_with_a_time(catalogue: Catalogue, columns: Collection[tuple[str, str]]) -> None:
    """Refuse days (a date of birth) that are kept as points in time, because a day begins at another one in each zone.

    Args:
        columns: that get days, each with its table in Nexus' schema. What the schema lacks is ignored.

    Raises:
        CatalogueStop: names the columns.
    """
    found = []
    for table, name in sorted(columns):
        column = catalogue.columns.get(catalogue.table(table), {}).get(name)
        if column and column.is_instant:
            found.append(f"{table}.{name} is {column.type}")
    if found:
        raise CatalogueStop(
            f"Nexus keeps days as points in time: {', '.join(found)}.",
            meaning="The pipeline would write midnight in UTC, and in another time zone that can be the day before."
            " Nothing was changed.",
            remedy="Tell the maintainers the release of Nexus, these columns, and the time zone of their midnight.",
        )


def _is_part(type_: str) -> bool:
    """Return whether a type holds only the day or the time of day of a point in time."""
    return type_ == "date" or re.match(r"time(\(|\s)", type_) is not None
