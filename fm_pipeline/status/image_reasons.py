"""Why images were not linked or not imported, in sentences, and what to do: for the pages that show a run's report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table

NOT_IMPORTED_COLUMNS = ("record_id", "filemaker_id", "outcome", "reason", "why", "what_to_do")

_AGAIN = "Start it again. If it stays, ask the person who runs the server to look at S3."
_IN_FILEMAKER = "Correct it in FileMaker, then start it again."
_WHICH_PATIENT = "Find out which patient is right before anything else. Then correct FileMaker or Nexus."
_IN_EXPORT = "Correct it in FileMaker and export again, or correct the export."
_NEW_FILE = "Open the picture in FileMaker. If it is whole there, bring its file into S3 again."
_NOTHING = "Nothing, if that is right."
# By reason, of both ways. A picture_… that is not named here needs a new file.
REMEDIES: Mapping[str, str] = {
    "no_date": "Enter the date in FileMaker, then start it again.",
    "date_unreadable": "Correct the date in FileMaker, or say in which order the numbers of dates are.",
    "no_patient": "Enter the patient in FileMaker, then start it again.",
    "patient_unknown": "Load the patient first. The page Not loaded says why a patient is not in Nexus.",
    "patient_ambiguous": "Correct in FileMaker what names the patient, then start it again.",
    "two_patients": _IN_FILEMAKER,
    "no_file": "Bring the file into the bulk dump, then start it again.",
    "several_files": "Remove the wrong file from the bulk dump, then start it again.",
    "too_large": "Make the file smaller than 5 GB, then start it again.",
    "value_too_long": "Shorten the text in FileMaker, then start it again.",
    "category_too_long": "Shorten the type in FileMaker, then start it again.",
    "removed_in_nexus": f"{_NOTHING} Otherwise link again, and tick that removed images are linked.",
    "all_containers_empty": _NOTHING,
    "id_twice": "Give each record an id of its own in FileMaker, then start it again.",
    "several_pictures": "Make a record of its own for each picture in FileMaker, then start it again.",
    "batch_orphaned": "Link the bulk dump: this repairs the batch. Then start it again.",
    "gone": _NOTHING,
    "linked_to_another_patient": _WHICH_PATIENT,
    "batch_of_another_patient": _WHICH_PATIENT,
    "changed_after_link": _WHICH_PATIENT,
    "recid_reused": "FileMaker's file was cloned or restored from a backup, and has given the record id again. Import"
    " the image files from FileMaker: this needs no file of the bulk dump. If Nexus takes no image without its record"
    " id, enter the image in FileMaker as a new record.",
    "target_differs": "Ask the person who runs the server to look at the file in S3. Nothing was overwritten.",
    "source_changed": "Start it again when nobody changes the bulk dump.",
    "archived": "Ask the person who runs the server to restore the file in S3, then start it again.",
    "copy_failed": _AGAIN,
    "read_failed": _AGAIN,
    "not_verified": _AGAIN,
    "not_stored": _AGAIN,
    "copy_gone": "Bring the file into the bulk dump again, then start it again.",
    "unexpected_error": "Send the class and the place of the error, from the log, to the person who runs the server.",
    "not_readable": "Open the record in FileMaker, and put a picture that opens into its container.",
    "does_not_come": "The next import tries it again. If it stays, ask for a restart of FileMaker's web engine.",
    "no_memory": "The next run tries it again. If it stays, the server needs more memory.",
    "picture_no_memory": "The next run tries it again. If it stays, the server needs more memory.",
    "picture_raw_photo": "Export the photograph as JPEG, and bring that into the bulk dump.",
    "picture_too_many_pixels": "Make the picture smaller, and bring that into the bulk dump.",
    "picture_too_large": "Make the picture smaller, and bring that into the bulk dump.",
    "row_without_file": "Ask the person who runs the server for fm-pipeline images reconcile.",
    "picture_changed": "Decide which of the two pictures is right: Nexus has the earlier one.",
    "not_marked": "Nothing: the next import sets the mark.",
    "repeated": _NOTHING,
    "empty_record": _NOTHING,
    **dict.fromkeys(("field_count", "recid_missing", "recid_invalid", "repetition_in_key"), _IN_EXPORT),
    **dict.fromkeys(("nul_character", "file_name_differs", "recid_contradicts"), _IN_EXPORT),
}


@dataclass(frozen=True)
class ReasonShown:
    """A reason of a report.

    Attributes:
        images: how many have it.
        ids: FileMaker's record ids of the first of them; none for what was skipped.
    """

    reason: str
    why: str
    remedy: str
    images: int
    ids: Sequence[int] = ()

    @property
    def more(self) -> int:
        """Images whose id is not among them."""
        return max(self.images - len(self.ids), 0)


def why(reason: str) -> str:
    """Return the sentence of a reason of a link or an import; the reason itself if it is unknown."""
    # Slow to import: decoders of pictures.
    from fm_pipeline.images.containers import reasons  # noqa: PLC0415
    from fm_pipeline.images.linking.report import REASON_SENTENCES  # noqa: PLC0415

    said = reasons.SKIPPED.get(reason) or reasons.FAILED.get(reason) or REASON_SENTENCES.get(reason) or reason
    return f"{said[:1].upper()}{said[1:].rstrip('.')}."


def remedy(reason: str) -> str:
    """Return what to do about a reason."""
    return REMEDIES.get(reason, _NEW_FILE if reason.startswith("picture_") else "")


def reasons_shown(report: Mapping[str, Any]) -> dict[str, list[ReasonShown]]:
    """Return the reasons of a stored report of a link or an import, most images first.

    Returns:
        `errors`: of what somebody has to look into; `skipped`: of all else that did not become an image.
    """
    failed = report.get("failed") or {}
    if "errors" in report:
        errors, skipped = report["errors"], report.get("skipped") or {}
    else:  # an import, whose reports name all reasons together
        from fm_pipeline.images.containers.reasons import FAILED  # noqa: PLC0415  # slow to import

        both = report.get("reasons") or {}
        errors = {reason: images for reason, images in both.items() if reason in FAILED}
        skipped = {reason: images for reason, images in both.items() if reason not in FAILED}
    return {
        name: [
            ReasonShown(reason, why(reason), remedy(reason), images, failed.get(reason, ()))
            for reason, images in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        ]
        for name, counts in (("errors", errors), ("skipped", skipped))
    }


def iterate_not_imported(database_url: str) -> Iterator[tuple[object, ...]]:
    """Yield the records that the imports from the containers have skipped, or could not complete, for a CSV.

    The columns are `NOT_IMPORTED_COLUMNS`; the rows are read with a cursor of the server.
    """
    from fm_pipeline.images.containers.reasons import FAILED  # noqa: PLC0415  # slow to import

    with connect(database_url) as connection:
        with connection.cursor() as probe:
            if not has_table(probe, "fm_pipeline.waterfall_images"):
                return
        with connection.cursor("not_imported") as cursor:
            cursor.execute(
                "SELECT record_id, filemaker_key, reason FROM fm_pipeline.waterfall_images"
                " WHERE state IN ('failed', 'skipped') OR state = 'linked' AND reason = ANY(%s)"
                " ORDER BY reason, record_id",
                (list(FAILED),),
            )
            for record_id, key, reason in cursor:
                yield record_id, key, "failed" if reason in FAILED else "skipped", reason, why(reason), remedy(reason)
