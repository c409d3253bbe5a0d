"""Look up in the ledger and in Orthanc what is known of instances before they are sent."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.history.erase_patient import ERASED
from fm_pipeline.dicom.history.rows import note_persons
from fm_pipeline.dicom.model import Instance, identity, orthanc_id
from fm_pipeline.dicom.orthanc.delivery import Delivery
from fm_pipeline.dicom.reasons import REFUSED


class Claims:
    """Claims on instances that are in progress and not yet in the ledger: one file per instance at a time.

    Files of one instance claim it in the order of the scan, so that threads do not decide which of them Orthanc gets.
    For this, the first claims must be made in that order (`Turns`).
    """

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._claimed: set[str] = set()
        self._waiting: dict[str, set[int]] = {}

    def take(self, orthanc_id: str, number: int) -> bool:
        """Claim an instance for a file; False if another file has it, or an earlier file waits for it.

        Args:
            number: of the file, in the order of the scan. A file that has to wait claims again, or is withdrawn.
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
        """Withdraw a waiting file whose content has changed to another instance."""
        with self._busy:
            self._withdraw(orthanc_id, number)

    def _withdraw(self, orthanc_id: str, number: int) -> None:
        waiting = self._waiting.get(orthanc_id)
        if waiting:
            waiting.discard(number)
            if not waiting:
                del self._waiting[orthanc_id]

    def release(self, orthanc_ids: Iterable[str]) -> None:
        """Release instances whose rows are written."""
        with self._busy:
            self._claimed.difference_update(orthanc_ids)


class Turns:
    """Lets threads process numbered bundles in parallel, with one step in the order of the numbers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = 0
        self._passed: set[int] = set()

    def wait(self, number: int) -> None:
        """Wait until every earlier number has passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._next >= number)

    def passed(self, number: int) -> None:
        """Mark the step of a number as done or cancelled. Idempotent."""
        with self._changed:
            if number >= self._next:
                self._passed.add(number)
            while self._next in self._passed:
                self._passed.remove(self._next)
                self._next += 1
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """A row of history about an instance that Orthanc has, or that must not be sent.

    Attributes:
        lost: Orthanc did not have it later, so what it holds now may be another file.
    """

    md5: str | None
    path_hash: str
    size: int | None
    lost: bool


@dataclass(frozen=True)
class KnownInstances:
    """What is known of a bundle of instances, by Orthanc's id.

    Attributes:
        stored: rows of files that Orthanc has or had.
        suspects: rows of files that crash Orthanc.
        elsewhere: SOP Instance UIDs that were stored under another patient, study or series.
        away: instances that were taken back or erased on purpose, and not imported since, with the MD5 of each file
            that was taken back; None is any file of an erased patient.
        erased: instances of erased patients that were not imported since; also those of later examinations.
        held: the instances that Orthanc holds now, with the size of their files in bytes.
    """

    stored: dict[str, list[InstanceRow]] = field(default_factory=dict)
    suspects: dict[str, list[InstanceRow]] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()
    away: Mapping[str, Set[str | None]] = field(default_factory=dict)
    erased: Set[str] = frozenset()
    held: Mapping[str, int] = field(default_factory=dict)


class InstanceLookup:
    """Queries the ledger and Orthanc for bundles of instances.

    Orthanc is queried before anything is sent, even for instances that the ledger does not know: with
    `OverwriteInstances` it would replace its file, and 1.10.1 does not report that setting. A query takes 1 ms.
    """

    def __init__(self, database: ReconnectingConnection, delivery: Delivery) -> None:
        self._database, self._delivery = database, delivery

    def of(self, instances: Sequence[Instance]) -> KnownInstances:
        """Return what is known of these instances."""
        instances = [reading for of in instances for reading in of.readings]
        ids = {of.orthanc_id for of in instances}
        if not ids:
            return KnownInstances()
        patient_ids = {of.patient_id.replace("\0", ""): of.patient_id for of in instances if of.id_certain}
        patient_ids.pop("", None)
        met: set[str] = set()
        stored: dict[str, list[InstanceRow]] = {}
        suspects: dict[str, list[InstanceRow]] = {}
        elsewhere: set[str] = set()
        away: dict[str, set[str | None]] = {}
        erased: set[str] = set()

        def action(cursor: Cursor) -> None:
            for found in (stored, suspects, elsewhere, away, erased, met):
                found.clear()
            cursor.execute(
                "SELECT DISTINCT orthanc_instance_id, removed_at IS NOT NULL, file_path = %s, status = 'suspect',"
                " file_hash, path_hash::text, file_size_bytes, missing_since IS NOT NULL"
                " FROM fm_pipeline.import_history WHERE orthanc_instance_id = ANY(%s)"
                " AND (status IN ('imported', 'already_there', 'suspect') OR file_path = %s)",
                (ERASED, list(ids), ERASED),
            )
            for instance_id, removed, is_erased, suspect, *row in cursor.fetchall():
                if is_erased:
                    erased.add(instance_id)
                    away.setdefault(instance_id, set()).add(None)
                elif removed and row[0]:  # a suspect file may have no MD5
                    away.setdefault(instance_id, set()).add(row[0])
                elif not removed:
                    (suspects if suspect else stored).setdefault(instance_id, []).append(InstanceRow(*row))
            of_erased = _of_erased_patients(cursor, instances)
            erased.update(of_erased)
            for instance_id in (each for each, examined_before in of_erased.items() if examined_before):
                away.setdefault(instance_id, set()).add(None)
            for instance_id in away.keys() & stored.keys():  # somebody has imported it again since
                away[instance_id] -= {None, *(row.md5 for row in stored[instance_id])}
            erased.difference_update(stored)
            cursor.execute(
                "SELECT DISTINCT instance_uid FROM fm_pipeline.import_history WHERE instance_uid = ANY(%s)"
                " AND status IN ('imported', 'already_there') AND orthanc_instance_id <> ALL(%s)"
                " AND removed_at IS NULL",
                ([of.instance_uid.replace("\0", "") for of in instances], list(ids)),
            )
            elsewhere.update(uid for (uid,) in cursor.fetchall())
            cursor.execute(
                "SELECT DISTINCT patient_id FROM fm_pipeline.import_patients WHERE patient_id = ANY(%s)",
                (list(patient_ids),),
            )
            met.update(patient_id for (patient_id,) in cursor.fetchall())

        self._database.run(action)
        odd_names = {of.patient_id for of in instances if not of.plain_name}
        new = {orthanc_id(each): stored for stored, each in patient_ids.items() if stored not in met}
        self._note_patients(new, {orthanc_id(each) for each in odd_names})
        held = self._delivery.parts.sizes(self._delivery.ask, list(ids))
        return KnownInstances(stored, suspects, frozenset(elsewhere), away, erased, held)

    def _note_patients(self, patient_ids: Mapping[str, str], odd_names: Set[str]) -> None:
        """Record which persons Orthanc has under Patient IDs that no import has met: from other senders.

        Then a file of another person is flagged, as if an import had met the first one. Names are recorded only if
        they are ASCII in Orthanc and in the files: Orthanc drops bytes that do not fit the character set of a file, so
        the same name can differ in a file and in Orthanc.

        Args:
            patient_ids: Patient IDs by Orthanc's id of the patient.
            odd_names: the patients, by Orthanc's id, for whom a file has a name that is not plain ASCII.
        """
        held = self._delivery.ask(lambda orthanc: orthanc.patients(list(patient_ids)))
        persons = []
        for each, patient in held.items():
            name, patient_id = patient.name.partition("=")[0], patient_ids[each]
            known_name = name if name.isascii() and each not in odd_names else ""
            persons.append((patient_id, identity(patient_id, known_name, patient.birth_date)))
        if persons:
            self._database.run(lambda cursor: note_persons(cursor, persons))

    def refused_before(self, path_key: str, md5: str) -> str | None:
        """Return why Orthanc refused these bytes of this path earlier: an id of `reasons.REFUSED`, or None."""

        def action(cursor: Cursor) -> str | None:
            cursor.execute(
                "SELECT reason FROM fm_pipeline.import_history WHERE path_hash = %s AND file_hash = %s"
                " AND status = 'bad' AND reason = ANY(%s) ORDER BY id DESC LIMIT 1",
                (path_key, md5, list(REFUSED)),
            )
            row = cursor.fetchone()
            return row[0] if row else None

        return self._database.run(action)


def _of_erased_patients(cursor: Cursor, instances: Sequence[Instance]) -> dict[str, bool]:
    """Return which instances belong to erased patients, and whether they may have been examined before the erasure.

    Who comes back is examined later, and must not be missing in Orthanc. The date is that of another clock and zone, so
    the day after the erasure counts as before.
    """
    of_patients = {orthanc_id(of.patient_id) for of in instances if of.patient_id}
    cursor.execute(
        "SELECT orthanc_patient_id, to_char((erased_at AT TIME ZONE 'UTC') + interval '1 day', 'YYYYMMDD')"
        " FROM fm_pipeline.erased_dicom_patients WHERE orthanc_patient_id = ANY(%s)",
        (list(of_patients),),
    )
    last_days = dict(cursor.fetchall())
    if not last_days:
        return {}
    by_patient = ((of, last_days.get(orthanc_id(of.patient_id))) for of in instances)
    return {of.orthanc_id: of.study_date <= last_day for of, last_day in by_patient if last_day}
