"""Walks through the elements of a data set without loading their values: PS3.5, chapter 7.

Only headers are looked at, values are stepped over, so a file of gigabytes costs no more than its number of elements.
What is asked of the walk: a few values of the top level, whether the file ends where its elements say, and how deep
sequences are nested. pydicom answers none of the last two without reading the file, and takes four times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from struct import Struct
from typing import NamedTuple, Protocol

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from fm_pipeline.dicom.model import DEEPEST_SAFE_NESTING

LONGEST_VALUE = 1024  # bytes that are kept of a wanted value
_MOST_ELEMENTS = 200_000  # 0.1 s; the largest enhanced multi-frame headers seen have 50,000
_WINDOW = 1 << 16
_UNDEFINED = 0xFFFFFFFF

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_FRAGMENTS = frozenset({b"OB", b"OW", b"OV", b"OD", b"OF", b"OL"})

# PS3.5, 7.1.2: those with a length of two bytes, and those with two bytes reserved and a length of four
SHORT_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split(),
)
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
VRS = SHORT_VRS | LONG_VRS


class Encoding(NamedTuple):
    """How the elements of a data set are written."""

    implicit: bool
    big_endian: bool


IMPLICIT = Encoding(implicit=True, big_endian=False)
EXPLICIT = Encoding(implicit=False, big_endian=False)
BIG_ENDIAN = Encoding(implicit=False, big_endian=True)

_HEADERS = {IMPLICIT: Struct("<HHL"), EXPLICIT: Struct("<HH2sH"), BIG_ENDIAN: Struct(">HH2sH")}
_LENGTHS = {False: Struct("<L"), True: Struct(">L")}
_ITEM_HEADERS = {False: Struct("<HHL"), True: Struct(">HHL")}
_ITEM_BYTES = {False: b"\xfe\xff\x00\xe0", True: b"\xff\xfe\xe0\x00"}


class End(Enum):
    """How a walk ended."""

    COMPLETE = "the last element ends where the file ends"
    GROUP = "the group that was asked for has ended"
    CUT = "the file ends inside an element"
    CUT_IN_PIXEL_DATA = "the file ends inside the pixel data"
    LOST = "what follows is no element"
    LIMIT = "there are more elements than are looked at"


@dataclass(slots=True)
class Walk:
    """What was seen on the way.

    Attributes:
        values: of the wanted tags on the top level, at most `LONGEST_VALUE` bytes each.
        of_unknown_vr: those of them that are written with the VR `UN`.
        position: where the walk ended.
        elements: how many elements of the top level were passed, in rising order of their tags.
        regular: every one of them had a known VR and a higher tag than the one before.
    """

    values: dict[int, bytes] = field(default_factory=dict)
    of_unknown_vr: set[int] = field(default_factory=set)
    end: End = End.LOST
    position: int = 0
    elements: int = 0
    nesting: int = 0
    regular: bool = True


class Source(Protocol):
    """Bytes that can be had from any position."""

    size: int

    def read(self, position: int, length: int) -> bytes:
        """Up to that many bytes; fewer at the end."""
        ...


class Seekable(Protocol):
    """What is needed of a file."""

    def seek(self, offset: int, /) -> int:
        """Go to a position."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes from there."""


class FileSource:
    """A file, read in windows; at least a header's length comes from the window that was read last."""

    def __init__(self, file: Seekable, size: int, head: bytes) -> None:
        self._file = file
        self.size = size
        self._head = head

    def read(self, position: int, length: int) -> bytes:
        """Up to that many bytes; fewer at the end."""
        if position + min(length, 8) <= len(self._head):
            return self._head[position : position + length]
        if position >= self.size:
            return b""
        self._file.seek(position)
        return self._file.read(length)


def walk(
    source: Source, position: int, encoding: Encoding, wanted: frozenset[int], *, only_group: int | None = None
) -> Walk:
    """Walk from an element to the end of the file, or of a group.

    Args:
        wanted: tags (group << 16 | element) whose values are to be kept.
        only_group: stop before the first element of another group.
    """
    seen = Walk()
    seen.end = _walk(source, position, encoding, wanted, only_group, seen)
    return seen


def _walk(  # noqa: PLR0911, PLR0912, PLR0915  # one loop over headers: every call in it would cost as much as itself
    source: Source,
    position: int,
    encoding: Encoding,
    wanted: frozenset[int],
    only_group: int | None,
    seen: Walk,
) -> End:
    size = source.size
    base, data = position, source.read(position, _WINDOW)
    implicit, big_endian = encoding
    unpack = _HEADERS[encoding].unpack_from
    long_length = _LENGTHS[big_endian].unpack_from
    item_header = _ITEM_HEADERS[big_endian].unpack_from
    item_bytes = _ITEM_BYTES[big_endian]
    # Open sequences: where each ends (None: at its delimiter), and whether the elements around it are implicit.
    frames: list[tuple[int | None, bool]] = []
    previous = -1
    for _ in range(_MOST_ELEMENTS):
        while frames and frames[-1][0] is not None and position >= frames[-1][0]:
            if position > frames[-1][0]:
                seen.position = position
                return End.LOST
            implicit = frames.pop()[1]
            unpack = _HEADERS[Encoding(implicit, big_endian)].unpack_from
        seen.position = position
        if position >= size:
            return End.CUT if frames else End.COMPLETE
        offset = position - base
        if offset + 12 > len(data):
            base, data, offset = position, source.read(position, _WINDOW), 0
            if len(data) < 8:
                return End.CUT if position + 8 > size else End.LIMIT
        # The header: tag, VR, length
        if implicit:
            group, element, length = unpack(data, offset)
            tag, vr, value = group << 16 | element, b"", position + 8
        else:
            group, element, vr, length = unpack(data, offset)
            tag, value = group << 16 | element, position + 8
            if group == 0xFFFE:
                _, _, length = item_header(data, offset)
            elif vr in LONG_VRS:
                if offset + 12 > len(data):
                    return End.CUT
                (length,) = long_length(data, offset + 8)
                value += 4
            elif vr not in SHORT_VRS:
                seen.regular = False
                if not vr.isalpha() or not vr.isupper():
                    # Some writers fall back to an element without VR; a broken VR still has its short length.
                    _, _, without_vr = item_header(data, offset)
                    if value + without_vr <= size or without_vr == _UNDEFINED:
                        vr, length = b"", without_vr
        # Items and delimiters: the elements in them are walked as one row, only the ends of sequences count.
        if group == 0xFFFE:
            if not frames:
                return End.LOST
            if tag == _SEQUENCE_END:
                if frames[-1][0] is not None:
                    return End.LOST
                implicit = frames.pop()[1]
                unpack = _HEADERS[Encoding(implicit, big_endian)].unpack_from
            elif tag not in {_ITEM, _ITEM_END}:
                return End.LOST
            elif length != _UNDEFINED and value + length > size:
                return End.CUT
            position = value
            continue
        if not frames:
            if only_group is not None and group != only_group:
                return End.GROUP
            if tag == 0 and length == 0 and seen.elements:  # zeros as filling, mostly behind the last element
                position = value
                continue
            if tag == 0:
                return End.LOST
            if tag <= previous:
                seen.regular = False
            previous = tag
            seen.elements += 1
            if tag in wanted and length != _UNDEFINED and tag not in seen.values:
                kept = min(length, LONGEST_VALUE)
                if vr == b"UN":
                    seen.of_unknown_vr.add(tag)
                if value + kept <= base + len(data):
                    seen.values[tag] = data[value - base : value - base + kept]
                else:
                    seen.values[tag] = source.read(value, kept)
        # The value
        if length == _UNDEFINED:
            if tag in PIXEL_DATA or vr in _FRAGMENTS:
                end = _fragments(source, value, item_header)
                if isinstance(end, End):
                    return End.CUT_IN_PIXEL_DATA if end is End.CUT and tag in PIXEL_DATA else end
                position = end
                continue
            frames.append((None, implicit))
            if vr == b"UN":  # PS3.5, 6.2.2: what is of unknown VR and undefined length is written implicitly
                implicit = True
                unpack = _HEADERS[IMPLICIT].unpack_from
                if big_endian:
                    return End.LIMIT
            seen.nesting = max(seen.nesting, len(frames))
            position = value
            continue
        end_of_value = value + length
        if end_of_value > size:
            if not frames and tag in PIXEL_DATA:
                return End.CUT_IN_PIXEL_DATA
            return End.CUT
        offset = value - base
        is_sequence = vr == b"SQ" or (not vr and length >= 8 and data.startswith(item_bytes, offset))
        if not vr and length == 0 and len(frames) >= seen.nesting:  # empty, and no VR says whether it is one
            is_sequence = dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
        if is_sequence:
            seen.nesting = max(seen.nesting, len(frames) + 1)
            if end_of_value > base + len(data) or (
                # With so few items in it, it cannot be nested too deep.
                len(frames) + 1 + data.count(item_bytes, offset, offset + length) > DEEPEST_SAFE_NESTING
            ):
                frames.append((end_of_value, implicit))
                position = value
                continue
        position = end_of_value
    return End.LIMIT


def _fragments(source: Source, position: int, header: Callable[[bytes], tuple[int, int, int]]) -> int | End:
    """Behind the last fragment of encapsulated pixel data (PS3.5, A.4), or why it cannot be told."""
    for _ in range(_MOST_ELEMENTS):
        data = source.read(position, 8)
        if len(data) < 8:
            return End.CUT if position + 8 > source.size else End.LIMIT
        group, element, length = header(data)
        tag = group << 16 | element
        position += 8
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM or length == _UNDEFINED:
            return End.LOST
        position += length
        if position > source.size:
            return End.CUT
    return End.LIMIT
