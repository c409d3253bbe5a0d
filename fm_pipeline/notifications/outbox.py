"""The outbox: every email is stored until it is sent, and sent once.

It is an SQLite file in STATE_DIR and not a table of the Nexus database, because the most important email reports that
this database does not answer. Runs, commands and the sensor use it concurrently. An attempt belongs to the process that
has claimed it. Once the text has been handed over to the mail server, the email is never sent again, also after a
crash: a lost email is better than a repeated one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from fm_pipeline.folders import make_private_folder
from fm_pipeline.notifications.email_texts.reimport import EventType, RunEvent, body, subject
from fm_pipeline.notifications.smtp import Email

# 30 s, 1, 2, 4 … minutes, then every hour: a mail server may be down for half a night.
ATTEMPTS = 12
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
# An attempt is bounded (smtp.LIMIT_SECONDS); after this time its process must have been killed.
CLAIM_HOLDS = timedelta(minutes=5)

# A run that was reported as failed is not reported as cancelled as well.
_KINDS = {
    EventType.STARTED: "start",
    EventType.SUCCEEDED: "success",
    EventType.FAILED: "no success",
    EventType.CANCELLED: "no success",
}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS mails (
    run_id          text NOT NULL,
    kind            text NOT NULL,
    subject         text NOT NULL,
    body            text NOT NULL,
    state           text NOT NULL DEFAULT 'waiting',  -- waiting | claimed | handed over | sent | given up
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at real NOT NULL,                    -- claimed: when the claim ends
    receivers       text,                             -- null: SMTP_TO
    PRIMARY KEY (run_id, kind)
)
"""


def _insert(
    connection: sqlite3.Connection, run_id: str, kind: str, subject: str, body: str, receivers: str | None = None
) -> bool:
    cursor = connection.execute(
        "INSERT OR IGNORE INTO mails (run_id, kind, subject, body, next_attempt_at, receivers)"
        " VALUES (?, ?, ?, ?, 0, ?)",
        (run_id, kind, subject, body, receivers),
    )
    return cursor.rowcount == 1


def pause_after(attempts: int) -> timedelta:
    """Return the pause after a number of attempts."""
    return min(FIRST_PAUSE * int(2 ** (attempts - 1)), LONGEST_PAUSE)


@dataclass(frozen=True)
class Claim:
    """The right to one attempt to send one email."""

    run_id: str
    kind: str
    attempt: int
    email: Email


class Outbox:
    """The emails of one STATE_DIR.

    Args:
        state_dir: folder of the file `mails.sqlite`, which only its owner can read.
    """

    def __init__(self, state_dir: Path) -> None:
        self._file = state_dir / "mails.sqlite"

    def enqueue_run_event(self, run_event: RunEvent) -> bool:
        """Store an email about a run; return False if it exists. An event of the end cancels a waiting start email."""
        with self._open() as connection:
            if run_event.event is not EventType.STARTED:
                connection.execute(
                    "UPDATE mails SET state = 'given up' WHERE run_id = ? AND kind = ? AND state = 'waiting'",
                    (run_event.run_id, _KINDS[EventType.STARTED]),
                )
            return _insert(connection, run_event.run_id, _KINDS[run_event.event], subject(run_event), body(run_event))

    def enqueue(
        self,
        run_id: str,
        kind: str,
        subject: str,
        body: str,
        *,
        receivers: str | None = None,
        only_after: str | None = None,
    ) -> bool:
        """Store an email that is not an event of a run; return False if it exists, or is not to be sent.

        Args:
            run_id: identifies its subject; letters, digits, dots and hyphens.
            receivers: addresses, separated by commas; None: SMTP_TO.
            only_after: the kind of an earlier email that this one follows. It is not stored if that one was never
                sent; one that still waits is given up.
        """
        with self._open() as connection:
            if only_after is not None:
                connection.execute(
                    "UPDATE mails SET state = 'given up' WHERE run_id = ? AND kind = ? AND state = 'waiting'",
                    (run_id, only_after),
                )
                earlier = connection.execute(
                    "SELECT 1 FROM mails WHERE run_id = ? AND kind = ? AND state <> 'given up'", (run_id, only_after)
                )
                if earlier.fetchone() is None:
                    return False
            return _insert(connection, run_id, kind, subject, body, receivers)

    def contains(self, run_id: str, event: EventType) -> bool:
        """Whether an email about this event was sent or waits."""
        with self._open() as connection:
            found = connection.execute("SELECT 1 FROM mails WHERE run_id = ? AND kind = ?", (run_id, _KINDS[event]))
            return found.fetchone() is not None

    def claim(self, now: datetime, *, run_id: str | None = None) -> Claim | None:
        """Claim the next email that is due, of one run or of any; None if there is none. Those to SMTP_TO come first.

        A claim ends by `mark_sent` or `release`, or by itself after `CLAIM_HOLDS`. No email is due later than after the
        longest pause: a later time was written by a clock that was ahead and was set back since.
        """
        with self._open() as connection:
            row = connection.execute(
                "UPDATE mails SET state = 'claimed', attempts = attempts + 1, next_attempt_at = ? WHERE rowid = ("
                " SELECT rowid FROM mails WHERE state IN ('waiting', 'claimed')"
                " AND (next_attempt_at <= ? OR next_attempt_at > ?) AND run_id = coalesce(?, run_id)"
                " ORDER BY receivers IS NOT NULL, rowid LIMIT 1)"
                " RETURNING run_id, kind, attempts, subject, body, receivers",
                ((now + CLAIM_HOLDS).timestamp(), now.timestamp(), (now + LONGEST_PAUSE).timestamp(), run_id),
            ).fetchone()
        if row is None:
            return None
        name = f"{row[0]}.{row[1].replace(' ', '-')}"
        return Claim(row[0], row[1], row[2], Email(name, row[3], row[4], row[5]))

    def mark_handed_over(self, claim: Claim) -> bool:
        """Record that the text is handed over to the server now; return False if the claim has expired."""
        return self._set_state(claim, "claimed", "handed over")

    def mark_sent(self, claim: Claim) -> None:
        """Record that the server has accepted the email."""
        self._set_state(claim, "handed over", "sent")

    def release(self, claim: Claim, now: datetime, *, for_ever: bool = False) -> datetime | None:
        """Return an unsent email to the queue, and return when it is due again; None if it is given up (`ATTEMPTS`).

        Also after the hand-over, if the server has refused the text.
        """
        if for_ever or claim.attempt >= ATTEMPTS:
            self._set_state(claim, None, "given up")
            return None
        due = now + pause_after(claim.attempt)
        self._set_state(claim, None, "waiting", due.timestamp())
        return due

    def count_unsent(self) -> int:
        """Count the emails that wait for an attempt."""
        with self._open() as connection:
            return int(
                connection.execute("SELECT count(*) FROM mails WHERE state IN ('waiting', 'claimed')").fetchone()[0]
            )

    def _set_state(self, claim: Claim, before: str | None, after: str, next_attempt_at: float = 0) -> bool:
        with self._open() as connection:
            cursor = connection.execute(
                "UPDATE mails SET state = ?, next_attempt_at = ?"
                " WHERE run_id = ? AND kind = ? AND attempts = ? AND state = coalesce(?, state)",
                (after, next_attempt_at, claim.run_id, claim.kind, claim.attempt, before),
            )
            return cursor.rowcount == 1

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open a connection and a transaction."""
        make_private_folder(self._file.parent)
        os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(self._file, timeout=5)) as connection, connection:
            connection.execute(_SCHEMA)
            if "receivers" not in {row[1] for row in connection.execute("PRAGMA table_info(mails)")}:
                with suppress(sqlite3.OperationalError):  # another process was first
                    connection.execute("ALTER TABLE mails ADD COLUMN receivers text")
            yield connection
