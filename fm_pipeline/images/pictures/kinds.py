"""Detect the type of a file by its first bytes: a known type of picture, a raw photograph, or another file.

The name is ignored. `inspect.py` decodes the picture to check that it is complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Final

from PIL import TiffImagePlugin

HEAD_BYTES: Final = 1024  # of a file, by which its type is detected
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_AVIF_BRANDS = {b"avif", b"avis"}
_GENERAL_BRANDS = {b"mif1", b"msf1", b"mif2", b"miaf"}  # of both: the compatible brands tell (ISO/IEC 23008-12, 10.2)
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes
_HTML = re.compile(r"<(?s:.*)(<html|<!doctype html|<body)|<(html|!doctype html|head|body)")
_XML = re.compile(r"<(\?xml|[a-z][\w:.-]*(\s+[\w:.-]+\s*=|\s*/?>))")  # not "<No Access>"

# TIFF tags (TIFF 6.0; TIFF/EP; DNG 1.7)
NEW_SUBFILE_TYPE, OLD_SUBFILE_TYPE, PHOTOMETRIC, SUB_IFDS, DNG_VERSION = 254, 255, 262, 330, 50706
_SENSOR_DATA = {32803, 34892}  # PhotometricInterpretation: colour filter array, linear raw
_MOST_FRAMES = 16  # of a TIFF are looked at for the one that is no preview


def _words(data: bytes) -> str:
    """The first bytes as lower-case text, without what may stand before the first tag."""
    head = data[:HEAD_BYTES]
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return head.decode(encoding, "replace").lstrip().lower()


def _is_text(data: bytes) -> bool:
    """Whether the first bytes hold letters and no control characters but line ends, tabs and form feeds."""
    words = _words(data)
    return bool(words) and all(letter.isprintable() or letter.isspace() for letter in words[:-1])


def _starts(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(magics)


def _brands(data: bytes) -> set[bytes]:
    """The brands of an ISO base media file: the major one decides, unless it is a general one."""
    if data[4:8] != b"ftyp":
        return set()
    major, end = data[8:12], min(int.from_bytes(data[:4], "big"), HEAD_BYTES)
    return {data[at : at + 4] for at in range(16, end, 4)} if major in _GENERAL_BRANDS else {major}


def _is_avif(data: bytes) -> bool:
    return bool(_brands(data) & _AVIF_BRANDS)


def _is_heif(data: bytes) -> bool:
    # A general brand without any other may hold HEVC; the decoder knows.
    brands = _brands(data)
    return bool(brands & _HEIF_BRANDS) or (bool(brands) and brands <= _GENERAL_BRANDS)


# What the first bytes say: a name of Pillow's, or a reason of `inspect.REASONS`.
_MAGICS: Final[tuple[tuple[str, Callable[[bytes], bool]], ...]] = (
    ("JPEG", _starts(b"\xff\xd8\xff")),
    ("PNG", _starts(b"\x89PNG\r\n\x1a\n")),
    ("GIF", _starts(b"GIF87a", b"GIF89a")),
    # Canon CR2, Phase One IIQ, Olympus ORF, Panasonic RW2, Fujifilm RAF, Sigma X3F, Minolta MRW, Canon CRW and CR3
    ("raw_photo", lambda data: data[:4] in {b"II*\0", b"MM\0*"} and data[8:10] in {b"CR", b"II", b"MM"}),
    ("raw_photo", _starts(b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")),
    ("raw_photo", lambda data: data[6:14] == b"HEAPCCDR" or data[4:12] == b"ftypcrx "),
    ("TIFF", _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("WEBP", lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP"),
    ("BMP", lambda data: data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS),
    ("AVIF", _is_avif),
    ("HEIF", _is_heif),
    ("pdf", lambda data: b"%PDF-" in data[:HEAD_BYTES]),  # readers allow something before it
    ("html", lambda data: _HTML.match(_words(data)) is not None),
    ("xml", lambda data: _XML.match(_words(data)) is not None),
    ("text", _is_text),
)


def kind_of(data: bytes) -> str:
    """What the file is by its first bytes: a key of `inspect.TYPES` or of `inspect.REASONS`."""
    if not data:
        return "empty"
    return next((name for name, fits in _MAGICS if fits(data)), "unknown_type")


def may_be_picture(head: bytes) -> bool:
    """Whether a file may be a picture by its first `HEAD_BYTES`. If not, the rest does not change its reason."""
    return kind_of(head).isupper()  # Pillow's names of formats; reasons are in lower case


def main_frame(data: bytes) -> int | None:
    """Return the frame of a TIFF that is the picture itself; the first one may be a preview.

    Returns:
        The number of the frame, from 0. None: the picture is a camera's raw data, or lies where only a raw converter
        finds it (behind the tag SubIFDs), so that the file would be taken for its preview.
    """
    frames = list(_frames(data))
    if any(DNG_VERSION in frame or _one(frame, PHOTOMETRIC) in _SENSOR_DATA for frame in frames):
        return None
    if not frames or not _is_preview(frames[0]):
        return 0
    number = next((number for number, frame in enumerate(frames) if not _is_preview(frame)), None)
    return number if number is not None or SUB_IFDS in frames[0] else 0


def _frames(data: bytes) -> list[TiffImagePlugin.ImageFileDirectory_v2]:
    """The first directories of a TIFF; the decoder may refuse a frame whose tags can be read."""
    found: list[TiffImagePlugin.ImageFileDirectory_v2] = []
    file, seen = BytesIO(data), set()
    header = data[:16] if data[2:3] == b"+" or data[3:4] == b"+" else data[:8]
    try:
        directory = TiffImagePlugin.ImageFileDirectory_v2(header)
        while directory.next and directory.next not in seen and len(found) < _MOST_FRAMES:
            seen.add(directory.next)
            file.seek(directory.next)
            directory.load(file)
            copy = TiffImagePlugin.ImageFileDirectory_v2(header)
            copy.update(directory)
            found.append(copy)
    except Exception:  # noqa: BLE001  # a broken chain; whether the picture is whole is not asked here
        return found
    return found


def _one(frame: TiffImagePlugin.ImageFileDirectory_v2, tag: int) -> object:
    try:
        return frame.get(tag)
    except Exception:  # noqa: BLE001  # Pillow reads a tag when it is asked for
        return None


def _is_preview(frame: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    kind = _one(frame, NEW_SUBFILE_TYPE)
    return (isinstance(kind, int) and bool(kind & 1)) or _one(frame, OLD_SUBFILE_TYPE) == 2
