"""Emails about a reimport: an event, counts, the run's id and a link. No patient data, no library's error text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Any

from fm_pipeline.nexus.reimport.losses import losses
from fm_pipeline.notifications.for_the_operator import who_can_do_it
from fm_pipeline.pluralize import counted


class EventType(StrEnum):
    """What happened to a run."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class CommitStatus:
    """Whether the transaction of a run was committed, according to the Nexus database.

    Attributes:
        committed: None if the database does not answer.
        report: `ReimportReport.as_dict()` of a committed reimport, or of the plan of one that starts.
        undone: a restore has undone it before this email was written.
    """

    committed: bool | None
    report: Mapping[str, Any] | None = None
    undone: bool = False

    @property
    def changed_nothing(self) -> bool:
        """Whether the reimport had no row to change."""
        return bool(self.committed and self.report) and not int((self.report or {})["changed_rows"])


@dataclass(frozen=True)
class RunEvent:
    """An event of a run.

    Attributes:
        at: in the time zone of the readers.
        outcome: for events after the start.
        sentences: why the run failed, from `why_it_failed.py`.
        link: the page of the run in the console; without one, in Dagster's UI.
        contact: whom to ask when it did not succeed.
        started_by, cancelled_by: the accounts of the console; empty if it was not done there.
    """

    run_id: str
    event: EventType
    at: datetime
    outcome: CommitStatus = CommitStatus(None)
    sentences: tuple[str, ...] = ()
    link: str | None = None
    contact: str | None = None
    started_by: str = ""
    cancelled_by: str = ""


def short_id(run_id: str) -> str:
    """Return the first eight characters, as Dagster's UI does; the prefix of a command's run is left out."""
    return run_id.removeprefix("command-")[:8]


def subject(run_event: RunEvent) -> str:
    """Return the subject: the event, its meaning for Nexus, the run."""
    if run_event.event is EventType.STARTED:
        return f"Reimport started (run {short_id(run_event.run_id)})"
    outcome = run_event.outcome
    meaning = _UNDONE if outcome.undone else _ALREADY if outcome.changed_nothing else _MEANINGS[outcome.committed]
    return f"Reimport {run_event.event}: {meaning} (run {short_id(run_event.run_id)})"


def body(run_event: RunEvent) -> str:
    """Return the text of the email."""
    return "\n".join(_lines(run_event)) + "\n"


def _lines(run_event: RunEvent) -> Iterator[str]:
    if run_event.event is EventType.STARTED:
        yield "A reimport from FileMaker into Nexus has started. While its transaction runs, Nexus can be read, and"
        yield "saving a patient waits. An email follows when it has ended."
        if run_event.outcome.report:
            yield from ("", "Its plan says:", *(f"  {sentence}" for sentence in losses(run_event.outcome.report)))
    else:
        yield f"The reimport from FileMaker into Nexus {_ENDS[run_event.event]}"
        yield _committed_sentence(run_event.outcome)
        if run_event.outcome.report:
            yield from ("", *losses(run_event.outcome.report))
    if run_event.sentences:
        yield from ("", *run_event.sentences)
    lost = losses(run_event.outcome.report) if run_event.outcome.report else []
    asked = () if run_event.event is EventType.STARTED else (COMMIT_SENTENCES[run_event.outcome.committed],)
    if said := who_can_do_it(*asked, *lost, *run_event.sentences):
        yield from ("", said)
    if run_event.outcome.report and run_event.event is not EventType.STARTED:
        yield from ("", *_counts(run_event.outcome.report, run_event.at.tzinfo))
    yield from ("", f"Run:  {run_event.run_id}", f"Time: {run_event.at:%Y-%m-%d %H:%M:%S %Z}")
    if run_event.started_by:
        by = f", cancelled by {run_event.cancelled_by}" if run_event.cancelled_by else ""
        yield f"By:   started by {run_event.started_by}{by}"
    if run_event.link:
        yield f"Log:  {run_event.link}"
    if run_event.contact and run_event.event in (EventType.FAILED, EventType.CANCELLED):
        yield f"Help: {run_event.contact}"


_ENDS = {EventType.SUCCEEDED: "is complete.", EventType.FAILED: "has failed.", EventType.CANCELLED: "was cancelled."}
# The state of Nexus, by whether the transaction was committed: in a subject, and as a sentence.
_MEANINGS = {
    True: "Nexus has the new data",
    False: "Nexus is unchanged",
    None: "Nexus may have been changed",
}
_ALREADY = "Nexus had what FileMaker has already"
_UNDONE = "a restore has undone it"
_UNDONE_SENTENCE = "Its transaction was committed, and a restore has undone it since: Nexus has what the backup holds."
COMMIT_SENTENCES = {
    True: "Its transaction was committed: Nexus has the new data.",
    False: "Its transaction was not committed: Nexus is as it was before.",
    None: "The database did not answer when it was asked what became of the transaction. Nexus is either as it was"
    " before\nor completely reimported, never between; fm-pipeline status tells when the database runs again.",
}


def _committed_sentence(outcome: CommitStatus) -> str:
    if outcome.undone:
        return _UNDONE_SENTENCE
    if outcome.changed_nothing:
        return f"Its transaction was committed: {_ALREADY}."
    return COMMIT_SENTENCES[outcome.committed]


_NOTHING_CHANGED = "No row of Nexus had to be changed: it had what FileMaker has."


def _counts(report: Mapping[str, Any], zone: tzinfo | None) -> Iterator[str]:
    at = datetime.fromisoformat(report["started_at"]).astimezone(zone)
    rows = int(report["changed_rows"])
    changed = f"{counted(rows, 'row')} of Nexus changed in {report['seconds']:.1f} seconds, {at:%Y-%m-%d %H:%M:%S}."
    yield changed if rows else _NOTHING_CHANGED
    for table in report["tables"]:
        yield (
            f"  {table['table']}: {counted(table['after'], 'row')} ({table['deleted']:,} deleted,"
            f" {table['inserted']:,} new, {table['updated']:,} changed)"
        )
    for row in report.get("patients_by", ()):
        yield f"  patients, {row['by']} {row['name']}: {row['before']:,} before, {row['after']:,} after"
    for key in ("documents", "image_batches"):
        if relinked := report[key]:
            without = sum(len(ids) for ids in relinked["unresolved"].values())
            yield (
                f"  {key.replace('_', ' ')}: {relinked['total']:,} ({relinked['relinked']:,} relinked,"
                f" {without:,} without patient)"
            )
    yield "Records of FileMaker:"
    for ends in report["sources"]:
        yield (
            f"  {ends['entity']}: {ends['source']:,} = {ends['loaded']:,} loaded + {ends['quarantined']:,} quarantined"
            f" + {ends['skipped']:,} skipped"
        )
