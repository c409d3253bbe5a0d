"""Emails about imports of DICOM files: a job has stopped, or the watched directory cannot be read."""

from __future__ import annotations

from fm_pipeline.errors import DicomError
from fm_pipeline.notifications.email_texts.email_text import EmailText
from fm_pipeline.notifications.email_texts.why_it_failed import safe_sentences
from fm_pipeline.pluralize import counted

_UNMARKED = ". Nothing was marked as missing"
_MEANWHILE = {False: "nothing new is imported meanwhile", True: "new files are imported meanwhile"}


def import_stopped(
    job_id: int, reason: str, message: str, *, files: int, marked: bool, others_go_on: bool, retries: int
) -> EmailText:
    """Say why a job of the sensor has stopped.

    Args:
        reason: its id.
        message: the same in sentences.
        files: on record.
        marked: files may have been marked as missing.
        others_go_on: new files are imported meanwhile.
        retries: how often it is tried again at most.
    """
    sentences = (
        f"Import job {job_id} of the sensor has stopped: {message}",
        f"{counted(files, 'file')} on record{'' if marked else _UNMARKED}, and {_MEANWHILE[others_go_on]}; it is tried"
        f" again by itself, up to {retries} times.",
        f"To see it: fm-pipeline dicom status {job_id}",
    )
    return EmailText(f"DICOM import {job_id} has stopped ({reason})", sentences)


def directory_unreadable(error: DicomError) -> EmailText:
    """Say why the watched directory cannot be read.

    Args:
        error: of the sensor's tick.
    """
    return EmailText("DICOM import: the watched directory cannot be read", safe_sentences(error))
