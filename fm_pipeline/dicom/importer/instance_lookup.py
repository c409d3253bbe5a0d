"""What the ledger and Orthanc know already of the instances that are about to be sent."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.model import Instance
from fm_pipeline.dicom.orthanc.delivery import Delivery
from fm_pipeline.dicom.reasons import REFUSED


class Claims:
    """Instances that are on their way and not yet in the ledger; each is one file's at a time.

    Files of one instance have their turn in the order in which the scan met them, so that it does not depend on
    threads which of them Orthanc gets. That needs that they first ask in this order (`Turns`).
    """

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._claimed: set[str] = set()
        self._waiting: dict[str, set[int]] = {}

    def take(self, orthanc_id: str, number: int) -> bool:
        """Claim an instance for a file; False if another file of it is on its way, or waits and was met earlier.

        Args:
            number: of the file, in the order of the scan. If it has to wait it asks again, or is withdrawn.
        """
        with self._busy:
            waiting = self._waiting.get(orthanc_id, set())
            if orthanc_id in self._claimed or any(other < number for other in waiting):
                self._waiting.setdefault(orthanc_id, set()).add(number)
                return False
            self._withdraw(orthanc_id, number)
            self._claimed.add(orthanc_id)
            return True

    def withdraw(self, orthanc_id: str, number: int) -> None:
        """A file that had to wait does not want the instance any more: it holds something else by now."""
        with self._busy:
            self._withdraw(orthanc_id, number)

    def _withdraw(self, orthanc_id: str, number: int) -> None:
        waiting = self._waiting.get(orthanc_id)
        if waiting:
            waiting.discard(number)
            if not waiting:
                del self._waiting[orthanc_id]

    def release(self, orthanc_ids: Iterable[str]) -> None:
        """Give instances free, once their rows are written."""
        with self._busy:
            self._claimed.difference_update(orthanc_ids)


class Turns:
    """Threads that take numbered chunks side by side, and do one part of their work in the order of the numbers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = 0
        self._passed: set[int] = set()

    def wait(self, number: int) -> None:
        """Until every earlier number has passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._next >= number)

    def passed(self, number: int) -> None:
        """That part of it is done, or will not be done. Said again it changes nothing."""
        with self._changed:
            if number >= self._next:
                self._passed.add(number)
            while self._next in self._passed:
                self._passed.remove(self._next)
                self._next += 1
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """A row of history about an instance that Orthanc has, or must not be sent.

    Attributes:
        lost: Orthanc was found without it later: what it holds now may be something else.
    """

    md5: str | None
    path_hash: str
    size: int | None
    lost: bool


@dataclass(frozen=True)
class KnownInstances:
    """Of a chunk of instances, by Orthanc's id.

    Attributes:
        stored: rows that say that Orthanc has it, or had.
        suspects: rows that say that it kills Orthanc.
        elsewhere: SOP instance uids that were stored as an instance of another patient, study or series.
        held: those that Orthanc holds at this moment.
    """

    stored: dict[str, list[InstanceRow]] = field(default_factory=dict)
    suspects: dict[str, list[InstanceRow]] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()


class InstanceLookup:
    """Asks both, for chunks of instances.

    Orthanc is asked before anything is sent, also about what the ledger does not know: with `OverwriteInstances` it
    would replace what it has, and 1.10.1 does not tell whether that is set. A chunk costs a millisecond.
    """

    def __init__(self, database: ReconnectingConnection, delivery: Delivery) -> None:
        self._database, self._delivery = database, delivery

    def of(self, instances: Sequence[Instance]) -> KnownInstances:
        """What is known of these instances."""
        ids = {of.orthanc_id for of in instances}
        if not ids:
            return KnownInstances()
        stored: dict[str, list[InstanceRow]] = {}
        suspects: dict[str, list[InstanceRow]] = {}
        elsewhere: set[str] = set()

        def action(cursor: Cursor) -> None:
            for found in (stored, suspects, elsewhere):
                found.clear()
            cursor.execute(
                "SELECT DISTINCT orthanc_instance_id, status = 'suspect', file_hash, path_hash::text, file_size_bytes,"
                " missing_since IS NOT NULL"
                " FROM fm_pipeline.import_history WHERE orthanc_instance_id = ANY(%s)"
                " AND status IN ('imported', 'already_there', 'suspect')",
                (list(ids),),
            )
            for orthanc_id, suspect, *row in cursor.fetchall():
                (suspects if suspect else stored).setdefault(orthanc_id, []).append(InstanceRow(*row))
            cursor.execute(
                "SELECT DISTINCT instance_uid FROM fm_pipeline.import_history WHERE instance_uid = ANY(%s)"
                " AND status IN ('imported', 'already_there') AND orthanc_instance_id <> ALL(%s)",
                ([of.instance_uid for of in instances], list(ids)),
            )
            elsewhere.update(uid for (uid,) in cursor.fetchall())

        self._database.run(action)
        held = frozenset(self._delivery.ask(lambda orthanc: orthanc.sizes(list(ids))))
        return KnownInstances(stored, suspects, frozenset(elsewhere), held)

    def refused_before(self, path_key: str, md5: str) -> str | None:
        """Why Orthanc refused these bytes of this path in an earlier job, if it did: an id of `reasons.REFUSED`."""

        def action(cursor: Cursor) -> str | None:
            cursor.execute(
                "SELECT reason FROM fm_pipeline.import_history WHERE path_hash = %s AND file_hash = %s"
                " AND status = 'bad' AND reason = ANY(%s) ORDER BY id DESC LIMIT 1",
                (path_key, md5, list(REFUSED)),
            )
            row = cursor.fetchone()
            return row[0] if row else None

        return self._database.run(action)
