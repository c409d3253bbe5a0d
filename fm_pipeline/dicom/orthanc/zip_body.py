"""The body of a request that carries several files: a ZIP archive without compression."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from zipfile import ZipFile, ZipInfo


def zip_body(files: Sequence[memoryview]) -> memoryview:
    """Return a ZIP archive with these files, stored as they are.

    A member is named by its number. The path of a file may hold a patient's name, and Orthanc does not need it.
    """
    out = BytesIO()
    with ZipFile(out, "w") as archive:
        for number, content in enumerate(files):
            archive.writestr(ZipInfo(str(number)), content)
    return out.getbuffer()
