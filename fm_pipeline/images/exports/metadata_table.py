"""The table `image_metadata`: the records of the newest export, each with its outcome."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.copy import copy_rows
from fm_pipeline.db.queries import count
from fm_pipeline.errors import ImageStop
from fm_pipeline.images.exports.reader import Export, Reject
from fm_pipeline.staging.values.dates import read_date
from fm_pipeline.staging.values.keys import is_uuid

if TYPE_CHECKING:
    import pandas as pd

DateOrder = Literal["mdy", "dmy"]
Dates = Literal["proved", "mdy", "dmy"]
"""What somebody says of the order of the dates; `proved`: nothing, the dates have to prove it."""
_TABLE = "fm_pipeline.image_metadata"
_COLUMNS = ("recid", "line", "filemaker_id", "patient_ref", "date_text", "taken", "category", "note")


class MetadataRow(NamedTuple):
    """A row of the table; `taken` is None if `date_text` is empty or not a date."""

    recid: int
    line: int
    filemaker_id: str | None
    patient_ref: str
    date_text: str
    taken: date | None
    category: str
    note: str


def store_export(connection: Connection, export: Export, *, now: datetime, run_id: str | None, dates: Dates) -> None:
    """Replace the contents of the table and of the rejects by an export; commits.

    Args:
        dates: order of `03/12/2017`; files made in the United States have the month first.

    Raises:
        ImageStop: the dates contradict `dates`, or do not prove their order; see `date_order`.
    """
    with connection.cursor() as cursor:
        before = _proved_before(cursor) if dates == "proved" and not export.month_first else None
        rows = _table_rows(export.records, date_order(export, dates, before))
        cursor.execute(f"LOCK TABLE {_TABLE} IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(f"DELETE FROM {_TABLE}; DELETE FROM fm_pipeline.image_rejects")  # noqa: S608  # our own name
        copy_rows(cursor, _TABLE, _COLUMNS, rows.itertuples(index=False, name=None))
        copy_rows(cursor, "fm_pipeline.image_rejects", ("line", "reason"), export.rejects)
        cursor.execute(
            "INSERT INTO fm_pipeline.image_exports (id, run_id, read_at, sha256, format, encoding, records, accepted,"
            " repeated, rejected, additional) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                *(str(uuid.uuid4()), run_id, now, export.sha256, export.format, export.encoding),
                *(export.found, len(export), export.repeated, len(export.rejects), export.additional),
            ),
        )
    connection.commit()


def _table_rows(records: pd.DataFrame, dates: DateOrder) -> pd.DataFrame:
    """The records with the columns of the table, in its order; what is not known is None."""
    import pandas as pd  # noqa: PLC0415  # slow to import

    days = {text: _day(text, dates) for text in records["date"].unique()}
    ids = [own_id if is_uuid(own_id) else None for own_id in records["filemaker_id"]]
    table = records.rename(columns={"patient": "patient_ref", "date": "date_text"})
    # Objects: pandas would turn None into NaN or NaT, and dates into timestamps.
    taken = pd.Series([days[text] for text in records["date"]], table.index, "object")
    return table.assign(filemaker_id=pd.Series(ids, table.index, "object"), taken=taken)[list(_COLUMNS)]


# Date formats of other countries. No format has the year in the middle, or points with the month first.
_YEAR_FIRST = re.compile(r"(\d{4})([/.-]) ?(\d{1,2})\2 ?(\d{1,2})(?!\d)\.?", re.ASCII)
_POINTS = re.compile(r"(\d{1,2})\. ?(\d{1,2})\. ?(\d{4})(?!\d)\.?", re.ASCII)
_DAY_FIRST = re.compile(r"(\d{1,2})([/-])(\d{1,2})\2(\d{4})(?=\D|$)", re.ASCII)


@lru_cache(maxsize=16_384)
def _day(text: str, dates: DateOrder) -> date | None:
    if found := _YEAR_FIRST.match(text):
        text = f"{found[1]}-{found[3]:0>2}-{found[4]:0>2}{text[found.end() :]}"
    elif found := _POINTS.match(text):
        text = f"{found[2]}/{found[1]}/{found[3]}{text[found.end() :]}"
    elif dates == "dmy" and (found := _DAY_FIRST.match(text)):
        text = f"{found[3]}/{found[1]}/{found[4]}{text[found.end() :]}"
    return read_date(text)[0]


# The first row that proves the order: its date was read, and has a number above 12.
_PROOF = rf"""
SELECT date_text FROM {_TABLE} WHERE taken IS NOT NULL
  AND date_text ~ '^[0-9]{{1,2}}([/-])[0-9]{{1,2}}\1[0-9]{{4}}([^0-9]|$)'
  AND date_text ~ '^([0-9]+[/-])?(1[3-9]|[23][0-9])[/-]'
  AND (SELECT format FROM fm_pipeline.image_exports ORDER BY read_at DESC, id LIMIT 1) IN ('tab', 'csv', 'mer')
LIMIT 1
"""  # noqa: S608  # our own name


def _proved_before(cursor: Cursor) -> DateOrder | None:
    """Return the order that the dates of the export before prove; None if they prove none, or had a type.

    An order that somebody has named is no proof: it may have been wrong, and nothing has shown it.
    """
    cursor.execute(_PROOF)
    row = cursor.fetchone()
    found = _DAY_FIRST.match(row[0]) if row else None
    return ("dmy" if int(found[1]) > 12 else "mdy") if found else None


def date_order(export: Export, dates: Dates, before: DateOrder | None = None) -> DateOrder:
    """Return the order of dates such as `03/12/2017`. If nobody has named it, the dates have to prove it.

    Args:
        before: the order that the dates of the export before prove. This one has it too if its dates prove none, or
            if more of them prove it than contradict it: those are misprints, which `_day` does not read.

    Raises:
        ImageStop: more numbers above 12 are in the place of the month than in that of the day; the dates have a type,
            and `dates` says day first; or nobody has named the order, and the dates prove none, or both.
    """
    if export.month_first:
        if dates == "dmy":
            raise ImageStop(
                f"The dates of an export as {export.format} are known for dates, and need no order.",
                meaning="Read day first, they would become other days. Nothing was read.",
                remedy="Leave out --dates dmy (in Dagster: the configuration of image_metadata_csv).",
            )
        return "mdy"
    texts = export.records["date"].unique()
    numbers = [(int(found[1]), int(found[3])) for text in texts if (found := _DAY_FIRST.match(text))]
    first, second = (sum(pair[place] > 12 for pair in numbers) for place in (0, 1))
    if dates == "proved" and before:
        agree, contradict = (first, second) if before == "dmy" else (second, first)
        if agree > contradict or not (first or second):
            return before
    if dates == "proved":
        return _proved(first, second, is_open=any(max(pair) <= 12 and len({*pair}) > 1 for pair in numbers))
    if (first > second) if dates == "mdy" else (second > first):
        seen, said, other = ("day", "month", "dmy") if dates == "mdy" else ("month", "day", "mdy")
        raise ImageStop(
            f"The dates of the export are written {seen} first: {first:,} of them have a first number above 12,"
            f" and {second:,} a second one.",
            meaning=f"Read {said} first, others would become wrong days. Nothing was read.",
            remedy=f"Say so with --dates {other} (in Dagster: the configuration of image_metadata_csv).",
        )
    return dates


def _proved(first: int, second: int, *, is_open: bool) -> DateOrder:
    """Return the order that the dates prove.

    Args:
        first, second: how many have a first or second number above 12.
        is_open: whether another date could be two days.
    """
    if bool(first) != bool(second) or not (first or is_open):
        return "dmy" if first else "mdy"
    why = (
        f"{first:,} of them have a first number above 12, and {second:,} a second one"
        if first
        else "no date has a day above the 12th"
    )
    raise ImageStop(
        f"Whether the dates of the export are written day first or month first cannot be told: {why}.",
        meaning="A wrong guess would make other days of them. Nothing was read.",
        remedy="Say so with --dates mdy or --dates dmy (in Dagster: the configuration of image_metadata_csv).",
    )


def count_export(cursor: Cursor) -> tuple[int, dict[str, int], int]:
    """Return the records of the newest export, the rejected ones by reason, and the files of the bulk dump: counts."""
    cursor.execute("SELECT records, repeated FROM fm_pipeline.image_exports ORDER BY read_at DESC, id LIMIT 1")
    found, repeated = cursor.fetchone() or (0, 0)
    cursor.execute("SELECT reason, count(*) FROM fm_pipeline.image_rejects GROUP BY 1")
    not_used = dict(cursor.fetchall()) | ({"repeated": repeated} if repeated else {})
    cursor.execute("SELECT count(*) FROM fm_pipeline.bulk_dump_objects")
    files = count(cursor)
    return found, not_used, files


def read_rejects(cursor: Cursor) -> list[Reject]:
    """Return the rejected records of the newest export."""
    cursor.execute("SELECT line, reason FROM fm_pipeline.image_rejects ORDER BY line")
    return [Reject(*row) for row in cursor.fetchall()]


def read_metadata(connection: Connection) -> Iterator[MetadataRow]:
    """Yield the rows in the order of their record ids, read with a cursor of the server: there may be millions."""
    with connection.cursor("image_metadata") as cursor:
        cursor.execute(
            "SELECT recid, line, filemaker_id::text, patient_ref, date_text, taken, category, note"
            " FROM fm_pipeline.image_metadata ORDER BY recid"
        )
        yield from map(MetadataRow._make, cursor)
