"""The audit trail as a list: who did what, when, from where, with which result; the newest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from datetime import date, datetime

from fm_pipeline.db.connection import connect

PAGE = 100
_ROWS_AT_ONCE = 2000


@dataclass(frozen=True)
class AuditRow:
    """One row."""

    id: int
    at: datetime
    actor: str
    address: str
    action: str
    outcome: str
    plan_id: str | None
    run_id: str | None
    detail: str


COLUMNS = tuple(field.name for field in fields(AuditRow))
# A run's own process knows no address. Its rows show the one from which their account has launched it; of a token, the
# account is its owner.
_OWNER = "regexp_replace({}.actor, ' \\(token .*\\)$', '')"
_SELECT = f"""
SELECT id, at, actor, coalesce(nullif(address, ''), (
    SELECT l.address FROM fm_pipeline.audit l WHERE l.run_id = a.run_id AND l.address <> ''
    AND {_OWNER.format("l")} = {_OWNER.format("a")} ORDER BY l.id LIMIT 1), ''), action, outcome, plan_id::text, run_id,
    detail
FROM fm_pipeline.audit a
WHERE (%(actor)s = '' OR actor = %(actor)s OR starts_with(actor, %(actor)s || ' (token '))
  AND (%(action)s = '' OR action = %(action)s) AND (%(outcome)s = '' OR outcome = %(outcome)s)
  AND (%(run_id)s = '' OR run_id = %(run_id)s)
  AND (%(since)s::date IS NULL OR at >= %(since)s::date) AND (%(until)s::date IS NULL OR at < %(until)s::date + 1)
ORDER BY id DESC
"""  # noqa: S608  # of a constant


@dataclass(frozen=True)
class AuditFilter:
    """Which rows; an empty text leaves a condition out.

    Attributes:
        actor: an account; with the tokens that it owns.
        since: a day in the clinic's zone, YYYY-MM-DD; from its beginning.
        until: the same; to its end.
    """

    actor: str = ""
    action: str = ""
    outcome: str = ""
    run_id: str = ""
    since: str = ""
    until: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> AuditFilter:
        """Return the filter of an address; a day that is none is left out."""
        texts = {field.name: given.get(field.name, "").replace("\0", "").strip()[:200] for field in fields(cls)}
        for name in ("since", "until"):
            try:
                texts[name] = texts[name] and date.fromisoformat(texts[name]).isoformat()
            except ValueError:
                texts[name] = ""
        return cls(**texts)


def read_audit(database_url: str, wanted: AuditFilter, page: int, time_zone: str) -> tuple[list[AuditRow], bool]:
    """Return a page of rows, and whether there are more.

    Args:
        page: from 1; each has `PAGE` rows.
        time_zone: of the days of the filter.
    """
    values = _values(wanted) | {"limit": PAGE + 1, "offset": (page - 1) * PAGE}
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT set_config('TimeZone', %s, false)", (time_zone,))
        cursor.execute(f"{_SELECT} LIMIT %(limit)s OFFSET %(offset)s", values)
        rows = [AuditRow(*row) for row in cursor.fetchall()]
    return rows[:PAGE], len(rows) > PAGE


def iterate_audit(database_url: str, wanted: AuditFilter, time_zone: str) -> Iterator[tuple[object, ...]]:
    """Yield all rows that the filter leaves, in the order of `COLUMNS`, without holding them in memory."""
    with connect(database_url) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('TimeZone', %s, false)", (time_zone,))
        with connection.cursor("audit") as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(_SELECT, _values(wanted))
            for row in cursor:
                yield astuple(AuditRow(*row))


def read_actors(database_url: str) -> list[str]:
    """Return the actors there are, without tokens."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT DISTINCT {_OWNER.format('a')} FROM (SELECT DISTINCT actor FROM fm_pipeline.audit) a ORDER BY 1"  # noqa: S608  # a constant
        )
        return [name for (name,) in cursor.fetchall()]


def _values(wanted: AuditFilter) -> dict[str, object]:
    given = vars(wanted)
    return given | {"since": wanted.since or None, "until": wanted.until or None}
