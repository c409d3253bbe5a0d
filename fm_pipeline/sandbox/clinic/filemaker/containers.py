"""Pictures in FileMaker's containers, of images that are in no bulk dump yet, and the expected import.

Five containers hold one picture in five sizes, as far as the clinic filled them. Which, the record's number decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fm_pipeline.sandbox.clinic import pictures
from fm_pipeline.sandbox.clinic.model import FileRecord
from fm_pipeline.sandbox.filemaker.data.schema import StoredContainerFile

# Best first, with the pixels of each; the smallest is that of `pictures`.
SIZES = {
    "image_Full": (640, 480),
    "image_Ex_large": (480, 360),
    "image_large": (320, 240),
    "image_medium": (160, 120),
    "image_small": pictures.SIZE,
}
NAMES = tuple(SIZES)
# How the clinic filled twenty consecutive records. Most have all sizes, a few lack the best ones.
_FIRST = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3)
_EMPTY, _QUESTION_MARK, _PDF, _HALF = 17, 29, 41, 53  # intervals of records with a defect, in this order
PDF = b"%PDF-1.7\n%%EOF\n"


@dataclass(frozen=True)
class ExpectedImport:
    """The expected import of everything.

    Attributes:
        containers: how many images come from which.
        passed_over: how many better containers cannot be read.
        empty: records without any picture.
    """

    containers: Counter[str] = field(default_factory=Counter)
    passed_over: int = 0
    empty: int = 0


def contents(record: FileRecord) -> dict[str, object]:
    """Return the containers of a record by field; empty for an image whose file was exported."""
    if record.exported or record.number % _EMPTY == 0:
        return {}
    first = _FIRST[record.number % len(_FIRST)]
    filled: dict[str, object] = {
        name: StoredContainerFile(pictures.jpeg(record.number, size=SIZES[name])) for name in NAMES[first:]
    }
    if first + 1 < len(NAMES):
        best = NAMES[first]
        if record.number % _QUESTION_MARK == 0:
            filled[best] = "?"
        elif record.number % _PDF == 0:
            filled[best] = StoredContainerFile(PDF)
        elif record.number % _HALF == 0:
            whole = pictures.jpeg(record.number, size=SIZES[best])
            filled[best] = StoredContainerFile(whole[: len(whole) // 2])
    return filled


def expected_import(records: Sequence[FileRecord]) -> ExpectedImport:
    """Return the expected import of the records without a mark."""
    found: Counter[str] = Counter()
    passed_over = empty = 0
    for record in records:
        if record.exported:
            continue
        readable = list(_readable(record))
        if readable:
            found[readable[0]] += 1
            passed_over += NAMES.index(readable[0]) - _FIRST[record.number % len(_FIRST)]
        else:
            empty += 1
    return ExpectedImport(found, passed_over, empty)


def _readable(record: FileRecord) -> Iterator[str]:
    if record.number % _EMPTY == 0:
        return
    first = _FIRST[record.number % len(_FIRST)]
    odd = any(record.number % every == 0 for every in (_QUESTION_MARK, _PDF, _HALF))
    yield from NAMES[first + 1 if odd and first + 1 < len(NAMES) else first :]
