"""Losses of data by a reimport, in sentences: the first thing to read in a plan, a report and an email.

Patients who come back or are mixed up are worse, and stand before them.

For a dry run they say what would happen, for a committed reimport what happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fm_pipeline.nexus.table_names import LETTERS, REMINDERS
from fm_pipeline.pluralize import counted

IDS_SHOWN = 5
NOTHING = {
    False: "No row would be deleted, and none would lose a value.",
    True: "No row was deleted, and none lost a value.",
}
# Names for a row of each table; for other tables, "row of TABLE".
_ROWS = {
    "patients": "patient",
    "appointments": "appointment",
    "notes": "note",
    "sms_messages": "message",
    LETTERS: "letter",
    REMINDERS: "reminder",
}
_CLEARED = {LETTERS: "NEXUS_LETTERS", REMINDERS: "NEXUS_REMINDERS"}


def losses(report: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each loss, in the order of `kinds`; docs/runbook.md lists it.

    Args:
        report: `ReimportReport.as_dict()`, also one that an earlier release has stored.

    Returns:
        At least one sentence; without losses, that nothing is lost.
    """
    done = bool(report["committed"])
    kinds = (unexpected_patients, _emptied, _left_behind, _accepted, _files, _deleted, _replaced, _reset)
    return [sentence for kind in kinds for sentence in kind(report, done)] or [NOTHING[done]]


def loses(report: Mapping[str, Any]) -> bool:
    """Return whether a stored report tells of any loss."""
    return not set(report["losses"]) <= set(NOTHING.values())


def stays(report: Mapping[str, Any]) -> list[str]:
    """Return a sentence about the values edited in Nexus that are kept; nothing if there are none.

    Args:
        report: as for `losses`.
    """
    edits = _edits_by_entity(report, kept=True)
    stay = "stayed" if report["committed"] else "stay"
    return [f"Values edited in Nexus that {stay}: {edits}."] if edits else []


def unexpected_patients(report: Mapping[str, Any], done: bool) -> Iterator[str]:
    """Yield a sentence about patients who were erased, and one about those who become other people."""
    if ids := report.get("erased", ()):
        yield (
            f"{counted(len(ids), 'patient')} who {'was' if len(ids) == 1 else 'were'} erased"
            f" {'came' if done else 'would come'} back, because FileMaker has the record again: {_some(ids)}."
        )
    if ids := report.get("other_people", ()):
        yield (
            f"{counted(len(ids), 'patient')} {'became' if done else 'would become'}"
            f" {'another person' if len(ids) == 1 else 'other people'}: first name, last name and date of birth"
            f" {'have' if done else 'would have'} all changed, and everything in Nexus stays with the row. Perhaps"
            f" FileMaker has used an id again: {_some(ids)}."
        )


def _some(ids: Sequence[str]) -> str:
    more = len(ids) - IDS_SHOWN
    return ", ".join(ids[:IDS_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _replaced(report: Mapping[str, Any], done: bool) -> Iterator[str]:
    if edits := _edits_by_entity(report, kept=False):
        were = "were" if done else "would be"
        yield f"Values edited in Nexus that {were} replaced by FileMaker's: {edits}."


def _edits_by_entity(report: Mapping[str, Any], *, kept: bool) -> str:
    """Return the number of values by entity. Decisions about whole rows are counted with the rows."""
    edits = Counter(each["entity"] for each in report.get("kept_edits", ()) if each["column"] and each["kept"] is kept)
    return ", ".join(f"{entity} {number:,}" for entity, number in sorted(edits.items()))


def _emptied(report: Mapping[str, Any], done: bool) -> Iterator[str]:
    for reference in sorted(report["references"], key=lambda each: -int(each["set_to_null"])):
        if rows := int(reference["set_to_null"]):
            its = "its" if rows == 1 else "their"
            yield (
                f"{counted(rows, 'row')} of {reference['table']} {'lost' if done else 'would lose'} {its}"
                f" {_row_of(reference['to'])}: {reference['column']} {'was' if done else 'would be'} emptied."
            )


def _left_behind(report: Mapping[str, Any], done: bool) -> Iterator[str]:
    for reference in report["references"]:
        if rows := int(reference.get("kept", 0)):
            yield (
                f"{counted(rows, 'row')} of {reference['table']} {'kept' if done else 'would keep'} in"
                f" {reference['column']} the id of a {_row_of(reference['to'])} that {'was' if done else 'would be'}"
                " deleted; NEXUS_SOFT_REFERENCES decides that."
            )


def _accepted(report: Mapping[str, Any], _done: bool) -> Iterator[str]:
    for each in report.get("accepted", ()):
        what = "FileMaker has no record" if each["rule"] == "source_empty" else "FileMaker has far fewer records"
        yield f"{what} of {each['entity']} ({each['found']}); RULES_FILE says that this is right."


def _files(report: Mapping[str, Any], done: bool) -> Iterator[str]:
    listed = (
        "The report's files_of_gone_patients.csv lists them."
        if done
        else "fm-pipeline files without-patient lists them."
    )
    for name, one, many in (
        ("documents", "document", "documents"),
        ("image_batches", "image batch", "image batches"),
    ):
        relinked = report.get(name) or {}
        if rows := len(relinked.get("archived", ())):
            yield (
                f"{counted(rows, one, many)} {'lost' if done else 'would lose'} a patient who"
                f" {'was' if done else 'would be'} deleted and {'went' if done else 'would go'} to the archive patient"
                f" {relinked['archive_patient']}. {listed}"
            )
        if rows := len(relinked.get("detached", ())):
            yield (
                f"{counted(rows, one, many)} {'lost' if done else 'would lose'} a patient who"
                f" {'was' if done else 'would be'} deleted and {'have' if done else 'would have'} no patient. {listed}"
            )


def _deleted(report: Mapping[str, Any], done: bool) -> Iterator[str]:
    for change in report["tables"]:
        rows = int(change["deleted"])
        if not rows:
            continue
        will = ("was" if rows == 1 else "were") if done else "would be"
        sentence = f"{counted(rows, _row_of(change['table']))} {will} deleted."
        if setting := _CLEARED.get(change["table"]):
            sentence += " FileMaker has none of these; " + (
                "the backup has them." if done else f"to keep them, set {setting}=keep before the dry run."
            )
        elif unlinked := int(change["without_filemaker_id"]):
            sentence += f" FileMaker has no record of {_part(unlinked, rows)} and cannot bring {_them(unlinked)} back"
            sentence += f"; the backup has {_them(unlinked)}." if done else "."
        if kept_out := int(change.get("kept_out", 0)):
            sentence += f" FileMaker still has {_part(kept_out, rows)}, but a rule keeps {_them(kept_out)} out."
        if replaced := int(change.get("replaced", 0)):
            sentence += f" {_duplicates(replaced, rows)}"
        if gone := _gone(change):
            sentence += f" {_records(gone, rows)} gone from FileMaker."
        yield sentence


def _gone(change: Mapping[str, Any]) -> int:
    """Return how many of the deleted rows FileMaker had; none of an earlier release, which did not count the rest."""
    if change["table"] in _CLEARED or "kept_out" not in change:
        return 0
    others = (change["without_filemaker_id"], change["kept_out"], change.get("replaced", 0))
    return max(int(change["deleted"]) - sum(map(int, others)), 0)


def _reset(report: Mapping[str, Any], done: bool) -> Iterator[str]:
    for change in report["tables"]:
        if rows := int(change.get("reset", 0)):
            yield (
                f"{counted(rows, _row_of(change['table']))} {'lost' if done else 'would lose'} values that only Nexus"
                f" had; {'the backup has them' if done else 'to keep them, set NEXUS_ONLY_COLUMNS=keep'}."
            )


def _part(number: int, of: int) -> str:
    return _them(number) if number == of else f"{number:,} of them"


def _records(number: int, of: int) -> str:
    if number == of:
        return "Its record is" if number == 1 else "Their records are"
    return f"The {'record' if number == 1 else 'records'} of {number:,} of them {'is' if number == 1 else 'are'}"


def _duplicates(number: int, of: int) -> str:
    if number == 1:
        return f"{'It' if of == 1 else '1 of them'} is a duplicate: FileMaker's record is loaded as another row."
    those = "They" if number == of else f"{number:,} of them"
    return f"{those} are duplicates: FileMaker's records are loaded as other rows."


def _them(number: int) -> str:
    return "it" if number == 1 else "them"


def _row_of(table: str) -> str:
    return _ROWS.get(table, f"row of {table}")
