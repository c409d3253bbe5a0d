"""The metadata of a picture: how to remove it, and how to read the orientation.

Cameras and programs write metadata that libraries refuse. Such metadata must not make a complete picture invalid.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from PIL import ExifTags, Image

UPRIGHT: Final = 1
# EXIF's orientation -> what turns the picture upright (EXIF 3.0, 4.6.5.1.6)
TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_ITS_SIDE: Final = {5, 6, 7, 8}
_TURNED_BY_DECODER = {"TIFF", "HEIF", "AVIF"}  # Pillow's readers of these apply the orientation themselves
_APP0, _APP14, _APP15, _COMMENT, _START_OF_SCAN = 0xE0, 0xEE, 0xEF, 0xFE, 0xDA  # JPEG markers (ITU-T T.81, table B.1)
# Tags that describe pixels: TIFF 6.0, JPEG in TIFF, and tiles
_TIFF_PIXELS: Final = {
    *(254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325),
    *(332, 338, 339, 347, *range(512, 522), 529, 530, 531, 532),
}
_PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"
_EXIF_HEAD: Final = b"Exif\0\0"


class Part(NamedTuple):
    """A segment of a JPEG or a chunk of PNG or WEBP: its name, its whole bytes, its content."""

    name: bytes
    whole: bytes
    content: bytes


def orientation(image: Image.Image, data: bytes, kind: str) -> int:
    """Return the orientation, 1 to 8; 1 if it is not stated or the decoder has applied it.

    Args:
        image: the opened picture.
        data: the whole file, with its metadata.
    """
    if kind in _TURNED_BY_DECODER:
        return UPRIGHT
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001  # another tag is malformed, and Pillow reads all of them
        value = None
    if value is None:
        value = _orientation_in(next(_exif_blocks(data, kind), b""))
    return value if isinstance(value, int) and value in TURNS else UPRIGHT


def without_metadata(data: bytes, kind: str) -> bytes | None:
    """Return the picture without metadata, or None for a format that does not need this."""
    if kind == "JPEG":
        head, scans = _split_jpeg(data)
        return b"\xff\xd8" + b"".join(part.whole for part in head if _is_needed(part)) + scans
    if kind == "PNG":
        # The first bit of a chunk's name tells whether it is critical (PNG 5.4). tRNS belongs to the pixels.
        kept = (part.whole for part in _png_chunks(data) if not part.name[0] & 0x20 or part.name == b"tRNS")
        return _PNG_HEAD + b"".join(kept)
    if kind == "WEBP":
        return _bare_webp(data)
    if kind == "TIFF":
        return _bare_tiff(data)
    return None


def _is_needed(part: Part) -> bool:
    """Whether a JPEG's segment takes part in decoding: JFIF and Adobe's tell the colours, application data nothing."""
    marker = part.name[0]
    if marker in {_APP0, _APP14}:
        return part.content.startswith((b"JFIF\0", b"Adobe")) and len(part.content) >= 12
    return not (_APP0 <= marker <= _APP15 or marker == _COMMENT)


def _split_jpeg(data: bytes) -> tuple[list[Part], bytes]:
    """The segments before the first scan, and everything from there."""
    parts: list[Part] = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # fill bytes may stand before a marker (T.81, B.1.1.2)
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == _START_OF_SCAN or length < 2:
            break
        end = at + 2 + length
        parts.append(Part(data[at + 1 : at + 2], data[at:end], data[at + 4 : end]))
        at = end
    return parts, data[at:]


def scan_begins(data: bytes) -> int:
    """Return the offset of the first scan of a JPEG."""
    return len(data) - len(_split_jpeg(data)[1])


def _png_chunks(data: bytes) -> Iterator[Part]:
    at = len(_PNG_HEAD)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield Part(data[at + 4 : at + 8], data[at : at + 12 + length], data[at + 8 : at + 8 + length])
        at += 12 + length


def webp_chunks(data: bytes) -> Iterator[Part]:
    """The chunks of a WEBP (RFC 9649): name, with header and padding, content as far as the file has it."""
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        yield Part(data[at : at + 4], data[at:end], data[at + 8 : at + 8 + length])
        at = end


def _bare_webp(data: bytes) -> bytes:
    kept = b""
    for name, whole, _ in webp_chunks(data):
        if name == b"VP8X":
            kept += whole[:8] + bytes([whole[8] & ~0x2C]) + whole[9:]  # no ICC profile, EXIF, XMP
        elif name not in {b"ICCP", b"EXIF", b"XMP "}:
            kept += whole
    return b"RIFF" + struct.pack("<L", 4 + len(kept)) + b"WEBP" + kept


def _bare_tiff(data: bytes) -> bytes | None:
    """A TIFF whose first directory has only what decoding needs: a directory of its own behind the file."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return None
    try:
        entries = [data[at : at + 12] for at in _entries(data, order, 4)]
        kept = [each for each in entries if _describes_pixels(*struct.unpack(f"{order}HHL", each[:8]))]
    except struct.error:
        return None
    padded = data + bytes(len(data) % 2)
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + bytes(4)
    return padded[:4] + struct.pack(f"{order}L", len(padded)) + padded[8:] + directory


def _describes_pixels(tag: int, kind: int, count: int) -> bool:
    if tag == ExifTags.Base.Orientation:
        return (kind, count) == (3, 1)  # one SHORT (TIFF 6.0, p. 36); the decoder turns the picture by it
    return tag in _TIFF_PIXELS


def _entries(block: bytes, order: str, pointer: int) -> range:
    """Where the entries of a TIFF's first directory begin. Raises struct.error if it is cut."""
    (at,) = struct.unpack_from(f"{order}L", block, pointer)
    (count,) = struct.unpack_from(f"{order}H", block, at)
    return range(at + 2, at + 2 + count * 12, 12)


def _jpeg_exif(data: bytes) -> Iterator[bytes]:
    return (part.content for part in _split_jpeg(data)[0] if part.content.startswith(_EXIF_HEAD))


def _chunk(chunks: Callable[[bytes], Iterator[Part]], name: bytes) -> Callable[[bytes], Iterator[bytes]]:
    return lambda data: (part.content for part in chunks(data) if part.name == name)


_EXIF: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "JPEG": _jpeg_exif,
    "PNG": _chunk(_png_chunks, b"eXIf"),
    "WEBP": _chunk(webp_chunks, b"EXIF"),
}


def _exif_blocks(data: bytes, kind: str) -> Iterator[bytes]:
    """The EXIF blocks of a file, without the words before the TIFF header."""
    blocks = _EXIF[kind](data) if kind in _EXIF else iter(())
    return (block.removeprefix(_EXIF_HEAD) for block in blocks)


def _orientation_in(block: bytes) -> int | None:
    """The orientation of an EXIF block by itself, whatever its other tags hold."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        for entry in _entries(block, order, 4):
            tag, kind, number, value = struct.unpack_from(f"{order}HHLH", block, entry)
            if (tag, kind, number) == (ExifTags.Base.Orientation, 3, 1):
                return int(value)
    except struct.error:
        return None
    return None
