"""What the ledger and Orthanc know already of the instances that are about to be sent."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.dicom.delivery import Delivery
from fm_pipeline.dicom.lasting_connection import LastingConnection
from fm_pipeline.dicom.model import Instance


class Claims:
    """Instances that are on their way and not yet in the ledger; each is one thread's at a time."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._claimed: set[str] = set()

    def take(self, orthanc_id: str) -> bool:
        """Claim an instance; False if another file of the same instance is on its way."""
        with self._busy:
            if orthanc_id in self._claimed:
                return False
            self._claimed.add(orthanc_id)
            return True

    def release(self, orthanc_ids: Iterable[str]) -> None:
        """Give instances free, once their rows are written."""
        with self._busy:
            self._claimed.difference_update(orthanc_ids)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of history about an instance that Orthanc has, or must not be sent.

    Attributes:
        lost: Orthanc was found without it later: what it holds now may be something else.
    """

    md5: str | None
    path_hash: str
    size: int | None
    lost: bool


@dataclass(frozen=True)
class Known:
    """Of a chunk of instances, by Orthanc's id.

    Attributes:
        stored: rows that say that Orthanc has it, or had.
        suspects: rows that say that it kills Orthanc.
        elsewhere: SOP instance uids that were stored as an instance of another patient, study or series.
        held: those that Orthanc holds at this moment.
    """

    stored: dict[str, list[Row]] = field(default_factory=dict)
    suspects: dict[str, list[Row]] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()


class Knowledge:
    """Asks both, for chunks of instances.

    Orthanc is asked before anything is sent, also about what the ledger does not know: with `OverwriteInstances` it
    would replace what it has, and 1.10.1 does not tell whether that is set. A chunk costs a millisecond.
    """

    def __init__(self, database: LastingConnection, delivery: Delivery) -> None:
        self._database, self._delivery = database, delivery

    def of(self, instances: Sequence[Instance]) -> Known:
        """What is known of these instances."""
        ids = {of.orthanc_id for of in instances}
        if not ids:
            return Known()
        stored: dict[str, list[Row]] = {}
        suspects: dict[str, list[Row]] = {}
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
                (suspects if suspect else stored).setdefault(orthanc_id, []).append(Row(*row))
            cursor.execute(
                "SELECT DISTINCT instance_uid FROM fm_pipeline.import_history WHERE instance_uid = ANY(%s)"
                " AND status IN ('imported', 'already_there') AND orthanc_instance_id <> ALL(%s)",
                ([of.instance_uid for of in instances], list(ids)),
            )
            elsewhere.update(uid for (uid,) in cursor.fetchall())

        self._database.run(action)
        held = frozenset(self._delivery.ask(lambda orthanc: orthanc.sizes(list(ids))))
        return Known(stored, suspects, frozenset(elsewhere), held)
