"""Detect missing compressed data in a picture. A copy that broke off may have its full length.

The rest, or a block in the middle, then consists of zeros (nothing was written) or 0xFF (erased flash memory). Decoders
of PNG, GIF and most kinds of TIFF detect that. Decoders of JPEG, WEBP, HEIC and AVIF do not: they decode such bytes and
show grey. In uncompressed pixels (BMP, plain TIFF) zeros are black, so a gap cannot be detected.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from fm_pipeline.images.pictures.metadata import scan_begins, webp_chunks

# The longest run of equal bytes in whole files. Measured with plain, half plain and drawn pictures up to 81 megapixels:
# 0xFF 5; zeros in HEIC and AVIF 16, in WEBP without loss 3, in WEBP with loss one for each 10,000 pixels (of a plain
# white picture: 582 of 6 megapixels, 7,803 of 81).
_RUN: Final = 64
_PIXELS_A_ZERO: Final = 4_000
_WITH_LOSS = {b"VP8 ", b"ANMF"}
_WEBP_DATA = {b"VP8 ", b"VP8L", b"ALPH", b"ANMF"}
_CODED = {b"hvc1", b"hev1", b"av01", b"avc1"}  # item types whose content is compressed (ISO/IEC 23008-12, annexes)
_END_OF_IMAGE = b"\xff\xd9"  # T.81, table B.1; it cannot stand in compressed data


def is_incomplete(data: bytes, kind: str, pixels: int) -> bool:
    """Whether compressed data of a picture is missing.

    Args:
        data: the whole file.
        kind: Pillow's name of its format.
        pixels: number of pixels, according to its header.

    Returns:
        True where data is certainly missing. A gap in the middle of a JPEG is not found: of a plain surface a whole
        one has runs of zeros too.
    """
    if kind == "JPEG":
        return data.rfind(_END_OF_IMAGE, scan_begins(data)) < 0  # from behind: there it mostly is
    if kind == "WEBP":
        return any(_webp_part_has_gap(part.name, part.content, pixels) for part in webp_chunks(data))
    if kind in {"HEIF", "AVIF"}:
        return any(_has_run(data[start:end], _RUN) for start, end in coded_items(data))
    return False


def _has_run(content: bytes, zeros: int) -> bool:
    return bytes(zeros + 1) in content or b"\xff" * (_RUN + 1) in content


def _webp_part_has_gap(name: bytes, content: bytes, pixels: int) -> bool:
    if name == bytes(4):  # the file goes on with zeros where a chunk must begin
        return True
    return name in _WEBP_DATA and _has_run(content, _RUN + (pixels // _PIXELS_A_ZERO if name in _WITH_LOSS else 0))


class _Box(NamedTuple):
    kind: bytes
    start: int  # of its content
    end: int


def _boxes(data: bytes, at: int, end: int) -> Iterator[_Box]:
    """Yield the boxes between two offsets (ISO/IEC 14496-12, 4.2)."""
    while at + 8 <= end:
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif size == 0:
            size = end - at
        if size < head:
            return
        yield _Box(data[at + 4 : at + 8], at + head, min(at + size, end))
        at += size


def coded_items(data: bytes) -> list[tuple[int, int]]:
    """Return (start, end) of each compressed picture or tile of a HEIC or AVIF file."""
    meta = next((box for box in _boxes(data, 0, len(data)) if box.kind == b"meta"), None)
    if meta is None:
        return []
    inner = {box.kind: box for box in _boxes(data, meta.start + 4, meta.end)}
    if not {b"iinf", b"iloc"} <= inner.keys():
        return []
    coded = _coded_ids(data, inner[b"iinf"])
    return [extent for item, extent in _extents(data, inner[b"iloc"]) if item in coded]


def _coded_ids(data: bytes, box: _Box) -> set[int]:
    """Return the ids of the items with compressed pictures (ISO/IEC 14496-12, 8.11.6)."""
    found = set()
    skip = 6 if data[box.start] == 0 else 8  # version and flags, and how many there are
    for entry in _boxes(data, box.start + skip, box.end):
        version = data[entry.start] if entry.kind == b"infe" else 0
        if version >= 2:
            width = 2 if version == 2 else 4
            at = entry.start + 4
            if data[at + width + 2 : at + width + 6] in _CODED:
                found.add(int.from_bytes(data[at : at + width], "big"))
    return found


def _extents(data: bytes, box: _Box) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield item id and range of each extent in the file itself (ISO/IEC 14496-12, 8.11.3)."""
    version, sizes, at = data[box.start], data[box.start + 4 : box.start + 6], box.start + 6
    offset_size, length_size, base_size, index_size = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4, sizes[1] & 15

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(data[at - size : at], "big")

    for _ in range(number(4 if version == 2 else 2)):
        if at >= box.end:
            return
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)  # the data reference
        base = number(base_size)
        for _ in range(number(2)):
            number(index_size if version else 0)
            start = base + number(offset_size)
            length = number(length_size)
            if method == 0 and at <= box.end:
                yield item, (start, start + length if length else len(data))
