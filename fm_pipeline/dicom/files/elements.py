"""How the elements of a data set are encoded (PS3.5, chapter 7): byte order, VRs, and the tags of pixel data."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
ITEMS = frozenset({ITEM, ITEM_END})
DELIMITER_GROUP = 0xFFFE
PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

# PS3.5, 7.1.2: a VR has a length of two bytes, or two reserved bytes and a length of four.
SHORT_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split(),
)
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
VRS = SHORT_VRS | LONG_VRS
# DCMTK's internal names for ambiguous VRs. They get into files, and DCMTK reads them with a length of four bytes.
LONG_IN_DCMTK = frozenset({b"ox", b"px", b"lt"})


class Encoding(NamedTuple):
    """How the elements of a data set are written."""

    implicit: bool
    big_endian: bool


IMPLICIT = Encoding(implicit=True, big_endian=False)
EXPLICIT = Encoding(implicit=False, big_endian=False)
BIG_ENDIAN = Encoding(implicit=False, big_endian=True)

# For each encoding: the header of an element (group, element, VR, length), a length of four bytes, the header of an
# item, and the first bytes of an item. Implicit VR has no VR to read: `0s` gives an empty one.
_LITTLE, _BIG = Struct("<L").unpack_from, Struct(">L").unpack_from
_ITEM_LITTLE, _ITEM_BIG = Struct("<HHL").unpack_from, Struct(">HHL").unpack_from
READERS = {
    IMPLICIT: (Struct("<HH0sL").unpack_from, _LITTLE, _ITEM_LITTLE, b"\xfe\xff\x00\xe0"),
    EXPLICIT: (Struct("<HH2sH").unpack_from, _LITTLE, _ITEM_LITTLE, b"\xfe\xff\x00\xe0"),
    BIG_ENDIAN: (Struct(">HH2sH").unpack_from, _BIG, _ITEM_BIG, b"\xff\xfe\xe0\x00"),
}
