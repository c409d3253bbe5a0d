"""Series as a scanner sends them: many files of one size in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fm_pipeline.sandbox.dicom.instances import as_file, image

# A number in the UIDs that is replaced for each instance: creating each instance anew takes ten times as long.
_NUMBER = 7_000_000_000_000


def series(count: int, size: int, *, name: str = "series", **of_image: str) -> Iterator[bytes]:
    """Yield the files of a series in order; each has its own SOP Instance UID and pixels.

    Args:
        size: approximate bytes of a file.
        of_image: further arguments of `instances.image`.
    """
    dataset = image("0", series=name, size=max(8, size - 1_000), **of_image)
    stem = str(dataset.SOPInstanceUID)[:40].rstrip(".")
    dataset.SOPInstanceUID = f"{stem}.{_NUMBER}"
    template = as_file(dataset)
    for number in range(count):
        digits = str(_NUMBER + number).encode()
        content = bytearray(template.replace(str(_NUMBER).encode(), digits))
        content[-8:] = number.to_bytes(8, "little")
        yield bytes(content)


def write_series(folder: Path, count: int, size: int, *, name: str = "series", **of_image: str) -> list[Path]:
    """Write the files of a series into a folder, with names as on media: `IM000000`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, content in enumerate(series(count, size, name=name, **of_image)):
        path = folder / f"IM{number:06}"
        path.write_bytes(content)
        written.append(path)
    return written
