"""Encapsulated pixel data: a value in fragments, without a length of its own (PS3.5, A.4)."""

from __future__ import annotations

from collections.abc import Callable

from fm_pipeline.dicom.files.byte_source import ByteSource
from fm_pipeline.dicom.files.elements import ITEM, SEQUENCE_END, UNDEFINED_LENGTH
from fm_pipeline.dicom.files.walk_result import WalkEnd

MOST_STEPS = 4_000_000  # 2 s; the largest enhanced multi-frame headers seen have 50,000 elements


def behind_fragments(
    source: ByteSource, position: int, header: Callable[[bytes], tuple[int, int, int]]
) -> int | WalkEnd:
    """Return the position behind the last fragment of encapsulated pixel data or what is wrong."""
    for _ in range(MOST_STEPS):
        data = source.read(position, 8)
        if len(data) < 8:
            return WalkEnd.CUT if position + 8 > source.size else WalkEnd.LIMIT
        group, element, length = header(data)
        tag = group << 16 | element
        position += 8
        if tag == SEQUENCE_END:
            return position
        if tag != ITEM or length == UNDEFINED_LENGTH:
            return WalkEnd.NOT_AN_ELEMENT
        position += length
        if position > source.size:
            return WalkEnd.CUT
    return WalkEnd.LIMIT
