"""Say what the first bytes of a file are: where a data set would begin, and how it is encoded. `is_dicom` decides.

A DICOM file has a preamble of 128 bytes, `DICM` and the file meta information (PS3.10, 7.1). Planning systems and old
consoles write files without the preamble, or without both. Their first element tells them from other files; their
identifiers then decide whether they are instances (`is_dicom`).
"""

from __future__ import annotations

from struct import unpack_from

from pydicom.datadict import dictionary_has_tag

from fm_pipeline.dicom.files.elements import BIG_ENDIAN, EXPLICIT, IMPLICIT, VRS, Encoding

MAGIC_AT = 128
META_BEGINS = b"\x02\0\0\0UL\x04\0"  # (0002,0000), with its VR and length
_HIGHEST_FIRST_GROUP = 0xFE
_LONGEST_FIRST_VALUE = 0xFF  # GDCM's bound: no first element is longer
_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "picture"),
    (b"\x89PNG", "picture"),
    (b"GIF8", "picture"),
    (b"BM", "picture"),
    (b"II*\0", "picture"),
    (b"MM\0*", "picture"),
    (b"\0\0\x01\0", "picture"),
    (b"\xff\x4f\xff\x51", "picture"),
    (b"\0\0\0\x0cjP  ", "picture"),
    (b"\x1aE\xdf\xa3", "picture"),
    (b"%PDF", "document"),
    (b"{\\rtf", "document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "document"),
    (b"PK\x03\x04", "archive"),
    (b"PK\x05\x06", "archive"),
    (b"\x1f\x8b", "archive"),
    (b"BZh", "archive"),
    (b"\xfd7zXZ\0", "archive"),
    (b"7z\xbc\xaf\x27\x1c", "archive"),
    (b"Rar!\x1a\x07", "archive"),
    (b"\x28\xb5\x2f\xfd", "archive"),
)
_TEXT_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")


def has_magic(head: bytes) -> bool:
    """Return whether `DICM` is where the standard puts it. The content of the preamble does not matter."""
    return head[MAGIC_AT : MAGIC_AT + 4] == b"DICM"


def sniff(data: bytes, remaining: int, *, strict: bool = True) -> Encoding | None:
    """Return the encoding of the first element; None if the bytes do not begin with one.

    Args:
        data: at least 8 bytes.
        remaining: bytes to the end of the file.
        strict: apply GDCM's bounds for a first element, for files without `DICM`.
    """
    if len(data) < 8:
        return None
    for encoding, order in ((EXPLICIT, "<"), (BIG_ENDIAN, ">")):
        group, _, vr = unpack_from(f"{order}HH2s", data)
        if vr in VRS and group % 2 == 0 and 0 < group <= _HIGHEST_FIRST_GROUP:
            return encoding
    group, element, length = unpack_from("<HHL", data)
    longest = min(_LONGEST_FIRST_VALUE, remaining) if strict else remaining
    if group % 2 == 0 and 0 < group <= _HIGHEST_FIRST_GROUP and length % 2 == 0 and length <= longest:
        return IMPLICIT if element or length == 4 else None
    return None


def as_dcmtk_guesses(data: bytes) -> Encoding:
    """Guess the encoding of a data set without a transfer syntax as DCMTK does.

    Source: DCMTK, DcmItem::checkTransferSyntax. It looks at six bytes: the tag in its dictionary, and the VR.
    """
    data = data.ljust(6, b"\0")
    little, big = (unpack_from(f"{order}HH", data) for order in "<>")
    is_big = (_is_known(*big) and not _is_known(*little)) or (little[0] > 0xFF and big[0] <= 0xFF and _is_known(*big))
    if data[4:6] in VRS:
        return BIG_ENDIAN if is_big else EXPLICIT
    return IMPLICIT


def _is_known(group: int, element: int) -> bool:
    is_group_length, is_creator = element == 0, group % 2 == 1 and 0x10 <= element <= 0xFF
    return is_group_length or is_creator or bool(dictionary_has_tag(group << 16 | element))


def has_magic_elsewhere(head: bytes) -> bool:
    """Return whether file meta information is in the wrong place.

    Bytes of the preamble are missing, other bytes precede it, or `DICM` itself is missing.
    """
    return META_BEGINS in head or b"DICM\x02\0" in head


def kind_of(head: bytes) -> str:
    """Return the kind of a file that is not DICOM: an id of `reasons.SKIPPED`."""
    if not head.strip(b"\0"):
        return "zeros" if head else "empty_file"
    for prefix, kind in _PREFIXES:
        if head.startswith(prefix):
            return kind
    if head[257:262] == b"ustar":
        return "archive"
    if head[4:8] == b"ftyp" or (head[:4] == b"RIFF" and head[8:12] in {b"WEBP", b"AVI ", b"WAVE"}):
        return "picture"
    if head.startswith(_TEXT_MARKS) or _is_text(head[:4096]):
        return "text"
    return "not_dicom"


def _is_text(head: bytes) -> bool:
    printing = bytes(byte for byte in head if byte >= 32 or byte in _TEXT_CONTROLS)
    if len(printing) == len(head):
        return True
    # European text in UTF-16 or UTF-32 without a byte order mark: half of the bytes or more are zero, the rest prints.
    return len(printing) + head.count(0) == len(head) and head.count(0) * 4 <= len(head) * 3 + 4 and 0 in head[:4]
