"""Inspect a file with our code and with a real Orthanc."""

from __future__ import annotations

import io

from fm_pipeline.dicom.files.is_dicom import inspect
from fm_pipeline.dicom.model import Instance, RejectedFile
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.errors import FileRefused


def look(content: bytes) -> Instance | RejectedFile:
    """Ours."""
    return inspect(io.BytesIO(content), len(content))


def instance(content: bytes) -> Instance:
    """Of what must be one."""
    found = look(content)
    assert isinstance(found, Instance), found
    return found


def orthanc_says(orthanc: Orthanc, content: bytes) -> str:
    """The id that Orthanc gives the instance, or the reason why it refuses the file. It is not kept."""
    try:
        stored = orthanc.upload(content, len(content))
    except FileRefused as refused:
        return refused.reason
    orthanc._ask("DELETE", f"/instances/{stored.instance_id}")
    return stored.instance_id


def is_id(said: str) -> bool:
    """Whether Orthanc took the file."""
    return "-" in said
