"""Decide the outcome of each candidate: rejected for a reason, sent, or compared with the instance in Orthanc."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from fm_pipeline.dicom.files.open import FileChangedError
from fm_pipeline.dicom.files.read import Candidate, FileBecameUnreadableError, Stream, blocks_of, md5_of
from fm_pipeline.dicom.history.history_entry import HistoryEntry
from fm_pipeline.dicom.importer.instance_lookup import KnownInstances
from fm_pipeline.dicom.model import Outcome
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.delivery import Delivery, Halted, KillsOrthanc, SentTogether, Undeliverable
from fm_pipeline.dicom.orthanc.errors import FileNotTaken, FileRefused, OrthancError
from fm_pipeline.dicom.orthanc.stored_instance import StoredInstance
from fm_pipeline.dicom.paths import path_hash
from fm_pipeline.dicom.reasons import HOLDS_ANOTHER

T = TypeVar("T")

MISSING_PATIENT_ID = "missing_patient_id"
INSTANCE_UID_ELSEWHERE = "instance_uid_elsewhere"
SENT_AGAIN = "sent_again"  # the ledger says that Orthanc had it, and Orthanc did not have it any more
ERASED_BEFORE = "erased_before"
TAKEN_BACK = "taken_back"


@dataclass(frozen=True)
class OutcomeDecider:
    """Decides the outcomes of a job's candidates.

    Args:
        refused_before: returns for a path's hash and an MD5 why Orthanc refused those bytes earlier, or None.
        retry_suspects: also send files that are known or expected to crash Orthanc.
        never_overwrites: the administrator's statement about an Orthanc that does not report it (before 1.11).
        brings_back: also send files that were taken back, and those of erased patients.
    """

    delivery: Delivery
    refused_before: Callable[[str, str], str | None]
    retry_suspects: bool = False
    never_overwrites: bool = False
    brings_back: bool = True

    def entry(self, candidate: Candidate, known: KnownInstances, sends: int) -> HistoryEntry:  # noqa: PLR0911  # one for each outcome
        """Return the outcome of one candidate.

        Args:
            known: for the bundle of this candidate.
            sends: how often it was sent before without a response.

        Raises:
            Halted, OrthancStop, OrthancUnreachable, DatabaseError: it has no outcome yet.
        """
        entry = _undecided(candidate, known)
        try:
            return self._decided(candidate, entry, known, sends)
        except KillsOrthanc as kill:
            return self._unless_stored(candidate, replace(entry, sends=kill.sends), known)
        except Undeliverable as fault:
            return replace(entry, reason=fault.reason, sends=fault.sends)
        except FileRefused as refusal:
            return replace(entry, outcome=Outcome.BAD, reason=refusal.reason, sends=sends + 1)
        except FileNotTaken as fault:
            return replace(entry, reason=fault.reason, sends=sends + fault.sent)
        except FileChangedError:
            return replace(entry, reason="changed", md5=None)
        except FileBecameUnreadableError as lost:
            return replace(entry, reason=lost.reason, md5=None)

    def may_be_sent_together(self, candidate: Candidate, known: KnownInstances, sends: int) -> bool:
        """Return whether a candidate may be sent in one request with others.

        A file is sent alone if it may crash Orthanc, if Orthanc may refuse it, or if its id is not certain.
        """
        of = candidate.instance
        return (
            candidate.data is not None
            and of.id_certain
            and of.whole
            and not of.nested_too_deep
            and not sends
            and of.orthanc_id not in known.held
            and of.orthanc_id not in known.suspects
            and (self.brings_back or of.orthanc_id not in known.away)
        )

    def entries_together(
        self, candidates: Sequence[Candidate], known: KnownInstances
    ) -> Iterator[tuple[Candidate, HistoryEntry]]:
        """Send candidates in one request, and yield the outcome of each.

        A candidate for which Orthanc gives no response is sent alone, unless Orthanc has it by now.

        Raises:
            Halted, OrthancStop, OrthancUnreachable, DatabaseError: the remaining candidates have no outcome yet.
        """
        try:
            sent = self.delivery.send_together([each.data for each in candidates if each.data is not None])
        except Undeliverable as fault:
            for candidate in candidates:
                yield candidate, replace(_undecided(candidate, known), reason=fault.reason, sends=fault.sends)
            return

        left: list[Candidate] = []
        answered: list[Candidate] = []
        for candidate in candidates:
            stored = sent.stored.get(candidate.instance.orthanc_id)
            (left if stored is None else answered).append(candidate)

        def there_before(candidate: Candidate) -> bool:
            return sent.stored[candidate.instance.orthanc_id].status == "AlreadyStored"

        # Instances that Orthanc had already come last: comparing them may fail, and the others are stored by now.
        for candidate in sorted(answered, key=there_before):
            entry = replace(_undecided(candidate, known), sends=1)
            yield candidate, self._stored(candidate, entry, known, sent.stored[candidate.instance.orthanc_id])
        if left:
            yield from self._one_by_one(left, known, sent)

    def _one_by_one(
        self, candidates: Sequence[Candidate], known: KnownInstances, sent: SentTogether
    ) -> Iterator[tuple[Candidate, HistoryEntry]]:
        """Yield the outcomes of candidates for which a request with several files got no response."""
        known = replace(known, held=self._held(candidates))
        imported_alone, gone = 0, False
        # Those that Orthanc has come first: the others may end the job, and the history must know who stored these.
        recorded: set[str] = set()
        for candidate, entry in self._stored_together(candidates, known):
            recorded.add(candidate.instance.orthanc_id)
            yield candidate, entry
        left = (each for each in candidates if each.instance.orthanc_id not in recorded)
        for candidate in sorted(left, key=lambda each: each.instance.orthanc_id in known.held):
            if gone:
                entry = replace(_undecided(candidate, known), reason="no_answer", sends=1)
            else:
                entry = self.entry(candidate, known, int(sent.unanswered))
                entry = self._as_sent(entry, known) if sent.lost else entry
                gone = entry.reason == "no_answer"  # Orthanc was waited for, and does not come back
            if candidate.instance.orthanc_id not in known.held:
                imported_alone += entry.outcome is Outcome.IMPORTED
            yield candidate, entry
        if sent.refused and imported_alone == len(candidates):
            self.delivery.batch_size.end()

    def _stored_together(
        self, candidates: Sequence[Candidate], known: KnownInstances
    ) -> Iterator[tuple[Candidate, HistoryEntry]]:
        """Yield what Orthanc has stored of a request whose response is missing, or refuses another file.

        If Orthanc does not answer now, the remaining ones are left out.
        """
        for candidate in candidates:
            if candidate.instance.orthanc_id not in known.held:
                continue
            try:
                compared = self._compared(candidate, replace(_undecided(candidate, known), sends=1), known)
                entry = self._as_sent(compared, known) if compared else None
            except (Halted, OrthancError):
                return
            if entry and entry.outcome is Outcome.IMPORTED:
                yield candidate, entry

    def _as_sent(self, entry: HistoryEntry, known: KnownInstances) -> HistoryEntry:
        """Return `imported` for a file that Orthanc has now, and did not have before it was sent without a response.

        Then this job has stored it, or a conversion of it.
        """
        same = entry.outcome in {Outcome.ALREADY_THERE, Outcome.DUPLICATE}
        if not same and not (entry.reason == "other_transfer_syntax" and self._converts_to != ""):
            return entry
        flags = (*entry.flags, SENT_AGAIN) if entry.orthanc_ids[0] in known.stored else entry.flags
        return replace(entry, outcome=Outcome.IMPORTED, reason=None, other_md5=None, flags=flags)

    def _held(self, candidates: Sequence[Candidate]) -> Mapping[str, int]:
        """Return which candidates Orthanc has now; none if it does not answer."""
        try:
            return self._asked(lambda orthanc: orthanc.sizes([of.instance.orthanc_id for of in candidates]))
        except (Halted, OrthancError):
            return {}

    def _asked(self, question: Callable[[Orthanc], T]) -> T:
        """Ask what Orthanc holds, even if the job is being stopped: what was sent is to be recorded."""
        return self.delivery.ask(question, after_halt=True)

    def _decided(self, candidate: Candidate, entry: HistoryEntry, known: KnownInstances, sends: int) -> HistoryEntry:
        of = candidate.instance
        if not self.retry_suspects:
            if of.nested_too_deep:
                return replace(entry, outcome=Outcome.SUSPECT, reason="nested_too_deep")
            if any(_same(candidate, row.md5, row.size) for row in known.suspects.get(of.orthanc_id, [])):
                return replace(entry, outcome=Outcome.SUSPECT, reason="killed_orthanc_before")
        if not of.id_certain:
            withheld = self._withheld(candidate, entry, known)
            if withheld or not self._keeps_the_first():
                return withheld or replace(entry, reason="id_uncertain")
        elif of.orthanc_id in known.held:
            compared = self._compared(candidate, entry, known)
            # A damaged file must not hide behind a conflict: Orthanc has to judge it.
            if compared and (of.whole or compared.outcome is not Outcome.CONFLICT):
                return compared
            if compared and not self._keeps_the_first():
                return replace(compared, outcome=Outcome.BAD, reason="damaged_copy")
        return self._withheld(candidate, entry, known) or self._sent(candidate, entry, known, sends)

    def _withheld(self, candidate: Candidate, entry: HistoryEntry, known: KnownInstances) -> HistoryEntry | None:
        """Return the outcome of a file that was taken back, or of an erased patient; None if it may be sent."""
        if self.brings_back:
            return None
        away = {md5 for each in candidate.instance.readings for md5 in known.away.get(each.orthanc_id, ())}
        if not away:
            return None
        entry = replace(entry, md5=candidate.md5 or md5_of(candidate.found))
        if away.isdisjoint({None, entry.md5}):
            return None
        return replace(entry, outcome=Outcome.SKIPPED, reason=TAKEN_BACK)

    @cached_property
    def _converts_to(self) -> str | None:
        return self._asked(lambda orthanc: orthanc.converts_to())

    def _keeps_the_first(self) -> bool:
        """Return whether Orthanc keeps an instance that it has, so that a file may be sent without knowing its id.

        Orthanc is asked each time, because it may have been restarted with another configuration.
        """
        overwrites = self.delivery.ask(lambda orthanc: orthanc.overwrites())
        return self.never_overwrites if overwrites is None else not overwrites

    def _sent(self, candidate: Candidate, entry: HistoryEntry, known: KnownInstances, sends: int) -> HistoryEntry:
        found = candidate.found
        streams: list[Stream] = []

        def body() -> memoryview | Iterator[bytes] | Stream:
            if candidate.data is not None:
                return candidate.data
            if candidate.unpacked is not None:
                return blocks_of(candidate.unpacked)
            streams.append(Stream(found))
            return streams[-1]

        stored, sends = self.delivery.send(body, found.size, large=candidate.data is None, sends=sends)
        md5 = candidate.md5 or streams[-1].md5
        if stored.instance_id == candidate.instance.orthanc_id:
            self.delivery.batch_size.begin()
        return self._stored(replace(candidate, md5=md5), replace(entry, md5=md5, sends=sends), known, stored)

    def _stored(
        self, candidate: Candidate, entry: HistoryEntry, known: KnownInstances, stored: StoredInstance
    ) -> HistoryEntry:
        """Return the outcome of a file that Orthanc has accepted."""
        if stored.status == "FilteredOut":
            return replace(entry, outcome=Outcome.SKIPPED, reason="filtered_by_orthanc")
        candidate = replace(candidate, instance=candidate.instance.as_read(stored.patient_id))
        entry = replace(entry, stored=stored, instance=candidate.instance, flags=_flags(candidate, known))
        flags = (*entry.flags, SENT_AGAIN) if stored.instance_id in known.stored else entry.flags
        if stored.status == "Success":
            return replace(entry, outcome=Outcome.IMPORTED, flags=flags)
        compared = self._compared(candidate, entry, known)
        if compared and stored.repeated and stored.instance_id not in known.held:
            return self._as_sent(compared, known)
        return compared or replace(entry, reason="orthanc_error")  # it was deleted in between: try again

    def _unless_stored(self, candidate: Candidate, entry: HistoryEntry, known: KnownInstances) -> HistoryEntry:
        """Return suspect, unless Orthanc has stored the file. Then something else closed the connection after it."""
        try:
            compared = self._compared(candidate, entry, known)
            if compared and compared.orthanc_ids[0] not in known.held:
                return self._as_sent(compared, known)
        except (Halted, OrthancError):
            compared = None
        return compared or replace(entry, outcome=Outcome.SUSPECT, reason="kills_orthanc")

    def _compared(self, candidate: Candidate, entry: HistoryEntry, known: KnownInstances) -> HistoryEntry | None:
        """Compare a candidate with the instance in Orthanc; None if Orthanc has none, or the id is uncertain."""
        if entry.stored is None and not candidate.instance.id_certain:
            return None
        orthanc_id = entry.orthanc_ids[0] or ""
        rows = known.stored.get(orthanc_id, [])
        mine = candidate.md5 or md5_of(candidate.found)
        here = path_hash(candidate.found.path)
        entry = replace(entry, md5=mine)
        # A file that Orthanc accepted by the ledger is not compared again, unless Orthanc has lost it since, or has
        # another size: a sender has replaced it, or Orthanc has converted it (IngestTranscoding).
        accepted = any(row.md5 == mine and not row.lost for row in rows)
        if not accepted or known.held.get(orthanc_id, candidate.found.size) != candidate.found.size:
            theirs = self._asked(lambda orthanc: orthanc.md5(orthanc_id))
            if theirs is None:
                return None
            if theirs != mine and (other := self._other_bytes(candidate, entry, theirs, accepted=accepted)):
                return other
        same = [row.path_hash for row in rows if row.md5 == mine]
        if same and here not in same:
            return replace(entry, outcome=Outcome.DUPLICATE, reason="same_content")
        return replace(entry, outcome=Outcome.ALREADY_THERE)

    def _other_bytes(
        self, candidate: Candidate, entry: HistoryEntry, theirs: str, *, accepted: bool
    ) -> HistoryEntry | None:
        """Return the outcome of a file of whose instance Orthanc holds other bytes; None if it has converted this file.

        Args:
            entry: with the MD5 of the file.
            accepted: Orthanc has accepted the file earlier.
        """
        # A file that Orthanc refused stays bad when Orthanc has another file of the same instance.
        if not accepted and entry.md5 and (refused := self.refused_before(path_hash(candidate.found.path), entry.md5)):
            return replace(entry, outcome=Outcome.BAD, reason=refused)
        orthanc_id = entry.orthanc_ids[0] or ""
        syntax = self._asked(lambda orthanc: orthanc.transfer_syntax(orthanc_id))
        has_other_syntax = syntax and syntax != candidate.instance.transfer_syntax
        if accepted and has_other_syntax and self._converts_to in (None, syntax):
            return None
        reason = "other_transfer_syntax" if has_other_syntax else "other_content"
        return replace(entry, outcome=Outcome.CONFLICT, reason=reason, other_md5=theirs)


def _undecided(candidate: Candidate, known: KnownInstances) -> HistoryEntry:
    of, found = candidate.instance, candidate.found
    return HistoryEntry(found.path, Outcome.FAILED, None, found, candidate.md5, of, flags=_flags(candidate, known))


def _flags(candidate: Candidate, known: KnownInstances) -> tuple[str, ...]:
    flags = []
    if candidate.instance.without_patient_id:
        flags.append(MISSING_PATIENT_ID)
    if candidate.instance.instance_uid in known.elsewhere:
        flags.append(INSTANCE_UID_ELSEWHERE)
    if candidate.instance.holds_another:
        flags.append(HOLDS_ANOTHER)
    if any(each.orthanc_id in known.erased for each in candidate.instance.readings):
        flags.append(ERASED_BEFORE)
    return tuple(flags)


def _same(candidate: Candidate, md5: str | None, size: int | None) -> bool:
    """Compare by hash, or by size where a large file has no hash yet."""
    if candidate.md5 is None or md5 is None:
        return size == candidate.found.size
    return md5 == candidate.md5
