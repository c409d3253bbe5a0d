"""Why an image was not imported: the ids in the ledger, the report and docs/images.md, with a sentence for each."""

from __future__ import annotations

from typing import Final

SKIPPED: Final = {
    "all_containers_empty": "The record has no picture in any of its containers.",
    "no_patient": "The record names no patient.",
    "patient_unknown": "The patient is not in Nexus (yet).",
    "patient_ambiguous": "What names the patient names two of them.",
    "two_patients": "The record names two different patients.",
    "no_date": "The record has no date, so no batch can be found for it.",
    "date_unreadable": "The date of the record cannot be read, or could be two days: `dates` of the profile tells.",
    "id_twice": "Several records carry the same id, so none of them can be told from the others.",
    "several_pictures": "A container has pictures in several repetitions; a record stands for one.",
    "category_too_long": "The type is longer than Nexus' column.",
    "batch_orphaned": "Nexus has the image in a batch that points to no patient; fm-pipeline images link repairs it.",
    "gone": "The record was deleted, or marked by somebody else, meanwhile.",
}
FAILED: Final = {
    "linked_to_another_patient": "Nexus shows this image at another patient than FileMaker names.",
    "recid_reused": "Its record id was another image's, and Nexus takes no image without its record id.",
    "batch_of_another_patient": "The batch that the image belongs to is another patient's.",
    "not_readable": "None of the containers holds a picture that can be read.",
    "does_not_come": "FileMaker Server did not send the file.",
    "target_differs": "Another file has the place in S3 that the image was to get; it was not overwritten.",
    "no_memory": "There was not enough memory to decode the picture.",
    "unexpected_error": "An error that was not foreseen; the log names its class and place: report them.",
    "not_stored": "S3 did not take the file.",
    "row_without_file": "Nexus has the image, and its file is not in S3.",
    "changed_after_link": "Somebody gave the record another patient after the image was linked.",
    "picture_changed": "Somebody replaced the picture after it was read; Nexus and S3 have the one of before.",
    "not_marked": "FileMaker did not take the mark; the file is in S3 and linked.",
}
IN_USE: Final = "Somebody has the record open; the file is in S3 and linked, and only the mark is missing."


def sentence(reason: str) -> str:
    """The sentence of a reason."""
    return SKIPPED.get(reason) or FAILED.get(reason) or reason
