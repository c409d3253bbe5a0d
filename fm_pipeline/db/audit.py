"""The audit trail: who requested what, and how it ended, refusals included. A trigger keeps the table append-only."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Literal

from psycopg2.errorcodes import UNIQUE_VIOLATION
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.errors import DatabaseError, PipelineError, RequestError, Stop

_log = logging.getLogger(__name__)

AuditAction = Literal[
    "plan",
    "reimport",
    "sync",
    "backup",
    "restore",
    "prune",
    "export",
    "image_link",
    "image_import",
    "dicom_configure",
    "dicom_scan",
    "dicom_import",
    "dicom_cancel",
    "dicom_watch",
    "dicom_ftp",
    "dicom_prune",
    "dicom_one_person",
    # Of the console
    "login",
    "logout",
    "lockout",
    "session",
    "token",
    "launch",
    "cancel",
    "configuration",
    "download",
    "verify",
    "show_names",
    "maintenance",
    "dagster",
    "dicom_set_aside",
    "access",
]
_BEHIND = (
    "The sequence of fm_pipeline.audit is behind its rows: the database was copied without its sequences, as logical"
    " replication does. Set the sequences (docs/operations.md, Move to another server)."
)
AuditOutcome = Literal["started", "done", "refused", "failed", "cancelled"]


_ADD = """
INSERT INTO fm_pipeline.audit (actor, action, outcome, plan_id, run_id, detail, address)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
# Of the visitor whose request the console is answering: functions of the pipeline that it calls know no requests.
_address: ContextVar[str] = ContextVar("address", default="")


@contextmanager
def asked_from(address: str) -> Iterator[None]:
    """Give this address to the rows that are added in the block, and in copies of its context."""
    token = _address.set(address)
    try:
        yield
    finally:
        _address.reset(token)


def operating_system_user() -> str:
    """Return the name of the user who runs this process, for the audit trail of a command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def record(
    database_url: str,
    *,
    actor: str,
    action: AuditAction,
    outcome: AuditOutcome,
    plan_id: str | None = None,
    run_id: str | None = None,
    detail: str = "",
    address: str = "",
) -> None:
    """Add a row in a connection and transaction of its own, so that it stays when the action itself is rolled back.

    Args:
        actor: who requested the action.
        detail: one of our own sentences; no patient data.
        address: of the visitor of the console who requested it; by default that of `asked_from`.
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(_ADD, (actor, action, outcome, plan_id, run_id, detail, address or _address.get()))
        connection.commit()


def record_done(cursor: Cursor, *, actor: str, action: AuditAction, detail: str) -> None:
    """Add a row in the transaction of what was done, so that neither is there without the other."""
    cursor.execute(_ADD, (actor, action, "done", None, None, detail, _address.get()))


def who_did(database_url: str, action: AuditAction, detail: str, since: datetime) -> str:
    """Return who has done exactly this last, since a time (with a zone); empty if nobody has."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT actor FROM fm_pipeline.audit WHERE action = %s AND outcome = 'done' AND detail = %s AND at >= %s"
            " ORDER BY id DESC LIMIT 1",
            (action, detail, since),
        )
        row = cursor.fetchone()
        return str(row[0]) if row else ""


def requested_cancels(database_url: str, run_ids: Collection[str]) -> dict[str, str]:
    """Return, by run, who has cancelled it: of these runs, those whose cancel was not refused and did not fail.

    A database that is new to the pipeline has no audit trail.
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        if not has_table(cursor, "fm_pipeline.audit"):
            return {}
        cursor.execute(
            "SELECT DISTINCT ON (run_id) run_id, actor, outcome FROM fm_pipeline.audit"
            " WHERE action = 'cancel' AND run_id = ANY(%s) ORDER BY run_id, id DESC",
            (list(run_ids),),
        )
        return {run_id: actor for run_id, actor, outcome in cursor.fetchall() if outcome in ("started", "done")}


@contextmanager
def audited(
    database_url: str,
    *,
    actor: str,
    action: AuditAction,
    plan_id: str | None = None,
    run_id: str | None = None,
    about: str = "",
) -> Iterator[None]:
    """Record the start and the outcome of an action: done, refused (a Stop or a RequestError), failed, or cancelled.

    The action does not begin unless its start is on record. An outcome that cannot be recorded is only a warning: it
    must not turn a committed action into a failure, nor hide why an action failed.

    Args:
        about: the beginning of the detail of each row.
    """

    def note(outcome: AuditOutcome, said: str = "") -> None:
        detail = f"{about} {said}".strip()
        record(database_url, actor=actor, action=action, outcome=outcome, plan_id=plan_id, run_id=run_id, detail=detail)

    def end(outcome: AuditOutcome, detail: str = "") -> None:
        try:
            note(outcome, detail)
        except PipelineError as error:
            _log.warning("The audit trail has no end of this %s, which is: %s. %s", action, outcome, error)

    try:
        note("started")
    except DatabaseError as error:
        raise DatabaseError(
            f"The audit trail could not be written: {error.what}",
            sqlstate=error.sqlstate,
            meaning=f"What is not on record does not begin: this {action.replace('_', ' ')} has changed nothing.",
            remedy=_BEHIND
            if error.sqlstate == UNIQUE_VIOLATION
            else f"{error.remedy} The table is fm_pipeline.audit; look at its grants and triggers too.",
        ) from None
    try:
        yield
    except (Stop, RequestError) as stop:
        end("refused", str(stop))
        raise
    except PipelineError as error:
        end("failed", str(error))
        raise
    except Exception as error:
        end("failed", type(error).__name__)
        raise
    except BaseException as error:
        end("cancelled", type(error).__name__)
        raise
    end("done")
