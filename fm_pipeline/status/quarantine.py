"""Records of FileMaker that were not loaded: counts by entity and rule, a page of them, and all of them for a CSV.

Ids, rule ids and names of clinics; no patient data. Only `read_person` reads a name, of one record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from psycopg2.extras import RealDictCursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.entities.rules import load_rules
from fm_pipeline.errors import RequestError
from fm_pipeline.staging.values.names import normalise_name

PAGE = 50
ROWS_A_FETCH = 2000
LAST_ID = 2**63 - 1  # of a column of type bigint
CSV_COLUMNS = ("entity", "record_id", "filemaker_id", "outcome", "rule", "clinic")

# The clinic as JSON writes it, of the record or else of its patient. Not `fields ->> 'clinic'`: PostgreSQL refuses a
# document that holds a NUL or half of a surrogate pair anywhere. Inside of a text its quotes have a backslash.
_CLINIC = """substring({}.fields::text FROM '"clinic": ("(?:[^"\\\\]|\\\\.)*")')"""
_ROWS = f"""
WITH kept_out AS MATERIALIZED (
    SELECT o.entity, o.record_id, coalesce(o.filemaker_id, '') AS filemaker_id, o.outcome, o.rule, s.patient_key,
           {_CLINIC.format("s")} AS clinic
    FROM fm_pipeline.staged_outcomes o LEFT JOIN fm_pipeline.source_records s USING (entity, record_id)
    WHERE o.outcome <> 'ready'
      AND (%(entity)s = '' OR o.entity = %(entity)s) AND (%(rule)s = '' OR o.rule = %(rule)s)
      AND (%(outcome)s = '' OR o.outcome = %(outcome)s)
      AND (%(record_id)s::bigint IS NULL OR o.record_id = %(record_id)s)
), patients AS MATERIALIZED (  -- one join instead of a look-up for each row
    SELECT DISTINCT ON (filemaker_key) filemaker_key, {_CLINIC.format("p")} AS clinic
    FROM fm_pipeline.source_records p WHERE entity = 'patient'
      AND filemaker_key IN (SELECT patient_key FROM kept_out k WHERE k.clinic IS NULL) ORDER BY filemaker_key
)
SELECT k.entity, k.record_id, k.filemaker_id, k.outcome, k.rule, coalesce(k.clinic, p.clinic) AS clinic
FROM kept_out k LEFT JOIN patients p ON p.filemaker_key = k.patient_key
"""  # noqa: S608  # of constants
_FILTERED = f"SELECT * FROM ({_ROWS}) rows WHERE %(clinics)s::text[] IS NULL OR clinic = ANY(%(clinics)s::text[])"  # noqa: S608
_ORDER = " ORDER BY outcome, entity, rule, record_id"


@dataclass(frozen=True)
class QuarantineFilter:
    """Which records; an empty text leaves a condition out. The name of a clinic matches all its spellings."""

    entity: str = ""
    rule: str = ""
    outcome: str = ""
    clinic: str = ""

    @classmethod
    def of(cls, values: Mapping[str, str]) -> QuarantineFilter:
        """Return the filter of a query string; other names are passed over."""
        return cls(**{field.name: values.get(field.name, "").replace("\0", "") for field in fields(cls)})


@dataclass(frozen=True)
class QuarantineCount:
    """How many records of an entity a rule kept out."""

    entity: str
    outcome: str
    rule: str
    records: int
    means: str
    remedy: str


def count_quarantined(database_url: str) -> list[QuarantineCount]:
    """Return counts of what was staged last: quarantined before skipped, most records first; none if nothing was."""
    rules = load_rules().by_id  # what a rule means is the same whatever a clinic makes it do
    with connect(database_url) as connection, connection.cursor() as cursor:
        if not has_table(cursor, "fm_pipeline.staged_outcomes"):
            return []
        cursor.execute(
            "SELECT entity, outcome, rule, count(*) FROM fm_pipeline.staged_outcomes WHERE outcome <> 'ready'"
            " GROUP BY 1, 2, 3 ORDER BY 2, 4 DESC, 1, 3"
        )
        return [
            QuarantineCount(
                entity,
                outcome,
                rule,
                records,
                rules[rule].means if rule in rules else "",
                rules[rule].remedy if rule in rules else "",
            )
            for entity, outcome, rule, records in cursor.fetchall()
        ]


def read_quarantine(database_url: str, wanted: QuarantineFilter, page: int = 1) -> tuple[list[dict[str, Any]], bool]:
    """Return a page of records, and whether there are more.

    Args:
        page: from 1.
    """
    with connect(database_url) as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        if not has_table(cursor, "fm_pipeline.staged_outcomes"):
            return [], False
        limits = {"limit": PAGE + 1, "offset": (max(page, 1) - 1) * PAGE}
        spellings = _spellings(cursor)
        values, names = _values(spellings, wanted) | limits, _names(spellings)
        cursor.execute(f"{_FILTERED}{_ORDER} LIMIT %(limit)s OFFSET %(offset)s", values)
        found = [_readable(dict(row), names) for row in cursor.fetchall()]
    return found[:PAGE], len(found) > PAGE


def iterate_quarantine(database_url: str, wanted: QuarantineFilter) -> Iterator[tuple[str, ...]]:
    """Yield all records in the order of `CSV_COLUMNS`, from a server-side cursor: they are not held in memory."""
    with connect(database_url) as connection:
        with connection.cursor() as probe:
            if not has_table(probe, "fm_pipeline.staged_outcomes"):
                return
            spellings = _spellings(probe)
        values, names = _values(spellings, wanted), _names(spellings)
        with connection.cursor("quarantine", cursor_factory=RealDictCursor) as cursor:
            cursor.itersize = ROWS_A_FETCH
            cursor.execute(_FILTERED + _ORDER, values)
            for row in cursor:
                readable = _readable(dict(row), names)
                yield tuple(str(readable[name]) for name in CSV_COLUMNS)


def read_clinics(database_url: str) -> list[str]:
    """Return the clinics of the records that were not loaded, each in one of its spellings."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        if not has_table(cursor, "fm_pipeline.staged_outcomes"):
            return []
        return sorted(filter(None, _names(_spellings(cursor)).values()))


def read_record(database_url: str, entity: str, record_id: int) -> dict[str, Any]:
    """Return the outcome of a record with everything that was noticed: rule ids and names of fields, no values.

    Raises:
        RequestError: no such record was kept out (404).
    """
    with connect(database_url) as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        if has_table(cursor, "fm_pipeline.staged_outcomes") and record_id <= LAST_ID:
            where = {"entity": entity, "rule": "", "outcome": "", "record_id": record_id}
            cursor.execute(_ROWS, where)
            if row := cursor.fetchone():
                cursor.execute(
                    "SELECT rule, action, field FROM fm_pipeline.staged_findings"
                    " WHERE entity = %(entity)s AND record_id = %(record_id)s ORDER BY rule, field",
                    where,
                )
                return _readable(dict(row)) | {"findings": [dict(finding) for finding in cursor.fetchall()]}
    raise RequestError(
        "No record of this entity and number was kept out.",
        code=404,
        meaning="It was loaded, or the source has been read again since.",
        remedy="Look for it in the list.",
    )


def read_person(database_url: str, entity: str, record_id: int) -> str:
    """Return the name of the person of a record, or of its patient; empty if FileMaker has none.

    This is patient data. The caller asks who may see it, and records that it was seen.
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(p.fields, s.fields)::text FROM fm_pipeline.source_records s"
            " LEFT JOIN fm_pipeline.source_records p ON s.entity <> 'patient' AND p.entity = 'patient'"
            " AND p.filemaker_key = s.patient_key WHERE s.entity = %s AND s.record_id = %s LIMIT 1",
            (entity, record_id),
        )
        row = cursor.fetchone()
    named = json.loads(row[0]) if row else {}
    parts = (str(named.get(name, "")).strip() for name in ("title", "first_name", "middle_names", "last_name"))
    return _clean(" ".join(part for part in parts if part))


def _spellings(cursor: Any) -> list[str]:
    """Return the clinics as JSON writes them."""
    cursor.execute(
        f"SELECT DISTINCT clinic FROM ({_ROWS}) rows WHERE clinic IS NOT NULL",  # noqa: S608  # of constants
        {"entity": "", "rule": "", "outcome": "", "record_id": None},
    )
    return [row["clinic"] if isinstance(row, dict) else row[0] for row in cursor.fetchall()]


def _names(spellings: Iterable[str]) -> dict[str, str]:
    """Return one spelling of each clinic, by its normalised name: the one with the most capitalised words."""

    def order(name: str) -> tuple[bool, int, str]:
        return name.isupper(), -sum(word[:1].isupper() for word in name.split()), name

    found: dict[str, str] = {}
    for name in sorted(map(_text, spellings), key=order):
        found.setdefault(normalise_name(name), name)
    return found


def _values(spellings: Iterable[str], wanted: QuarantineFilter) -> dict[str, Any]:
    """Return the parameters of `_FILTERED`."""
    values: dict[str, Any] = {"entity": wanted.entity, "rule": wanted.rule, "outcome": wanted.outcome}
    values |= {"clinics": None, "record_id": None}
    if wanted.clinic:
        name = normalise_name(" ".join(wanted.clinic.split()))
        values["clinics"] = [text for text in spellings if normalise_name(_text(text)) == name]
    return values


def _readable(row: dict[str, Any], names: Mapping[str, str] | None = None) -> dict[str, Any]:
    clinic = _text(row["clinic"])
    return row | {
        "clinic": (names or {}).get(normalise_name(clinic), clinic),
        "filemaker_id": _clean(row["filemaker_id"]),
    }


def _text(clinic: str | None) -> str:
    """Return the text of its JSON, trimmed and with single blanks."""
    return " ".join(_clean(json.loads(clinic)).split()) if clinic else ""


def _clean(text: str) -> str:
    """Without half surrogate pairs, which no page and no file can hold."""
    return text.encode("utf-8", "replace").decode()
