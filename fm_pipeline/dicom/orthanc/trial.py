"""Try the requests of an import on an Orthanc, without storing anything."""

from __future__ import annotations

from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.errors import FileRefused, UnusableAnswer

_NO_INSTANCE = "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"  # the hash of an empty text: no instance has this id
_SAMPLE = b"This is no DICOM file: the upload is tried without one.\n"


def try_upload(orthanc: Orthanc, size: int = 0) -> None:
    """Check that uploads are allowed by sending text: Orthanc refuses it as a bad file and stores nothing.

    Args:
        size: bytes of text; 0 checks only the permission.

    Raises:
        OrthancError: uploads are not possible.
    """
    body = (_SAMPLE * (size // len(_SAMPLE) + 1))[:size]
    try:
        orthanc.upload(body, size)
    except FileRefused:
        return
    raise UnusableAnswer("POST", "/instances", 200)


def try_questions(orthanc: Orthanc) -> None:
    """Check the queries of an import, with an instance that does not exist.

    Raises:
        OrthancError: one of the queries fails.
    """
    orthanc.sizes([_NO_INSTANCE])
    orthanc.md5(_NO_INSTANCE)
    orthanc.transfer_syntax(_NO_INSTANCE)
