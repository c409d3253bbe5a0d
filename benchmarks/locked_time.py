"""How long the locks are held, and the same statements as plain SQL. Both are read from PostgreSQL's own log."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg2

_LOGGED = re.compile(r"duration: (?P<ms>[0-9.]+) ms  statement: (?P<sql>.*)", re.DOTALL)
# What writes, and what it needs: temporary tables and their statistics, and the check of the foreign keys.
_PLAIN = ("LOCK", "SET CONSTRAINTS", "CREATE TEMP", "ANALYZE", "INSERT", "UPDATE", "DELETE", "DROP")
# What our own books take is no part of the plain way.
_BOOKS = ("fm_pipeline.reimports", "fm_pipeline.audit", "fm_pipeline.progress")


class Statement(NamedTuple):
    """A statement of the log."""

    sql: str
    ended: datetime
    duration: timedelta


def locked_statements(log: Path, database: str) -> list[Statement]:
    """The statements from LOCK to COMMIT of the last transaction in that database which locked and committed."""
    sessions: dict[str, list[Statement]] = {}
    found: list[Statement] = []
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            logged = _LOGGED.fullmatch(entry.get("message", ""))
            if entry.get("dbname") != database or logged is None:
                continue
            statement = Statement(
                logged["sql"].strip(),
                datetime.strptime(entry["timestamp"], "%Y-%m-%d %H:%M:%S.%f %Z"),  # noqa: DTZ007  # only compared
                timedelta(milliseconds=float(logged["ms"])),
            )
            if statement.sql.startswith("LOCK TABLE"):
                sessions[entry["session_id"]] = []
            if entry["session_id"] in sessions:
                sessions[entry["session_id"]].append(statement)
                if statement.sql == "COMMIT":
                    found = sessions.pop(entry["session_id"])
    return found


def seconds_held(statements: Sequence[Statement]) -> float:
    """From the first statement's beginning to the last one's end."""
    return (statements[-1].ended - statements[0].ended + statements[0].duration).total_seconds()


def replay(database_url: str, statements: Sequence[Statement]) -> None:
    """Carry out, in one transaction, those of the statements that delete, update, insert and relink, and no check."""
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        connection.set_session(isolation_level="REPEATABLE READ")
        for statement in statements:
            if statement.sql.startswith(_PLAIN) and not any(book in statement.sql for book in _BOOKS):
                cursor.execute(statement.sql)
        connection.commit()
