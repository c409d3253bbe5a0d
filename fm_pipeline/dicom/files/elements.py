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

LONGEST_VALUE = 1 << 16  # bytes that are kept of a wanted value; white space may make up most of them
_MOST_ELEMENTS = 4_000_000  # 2 s; the largest enhanced multi-frame headers seen have 50,000
_MOST_FILLING = 1 << 26  # bytes of zeros
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
# What DCMTK takes for a long VR beside the standard's: names of its own that get into files.
_LONG_IN_DCMTK = frozenset({b"ox", b"px", b"lt"})


class Encoding(NamedTuple):
    """How the elements of a data set are written."""

    implicit: bool
    big_endian: bool


IMPLICIT = Encoding(implicit=True, big_endian=False)
EXPLICIT = Encoding(implicit=False, big_endian=False)
BIG_ENDIAN = Encoding(implicit=False, big_endian=True)

# Of an encoding: header of an element, long length, header of an item, and the first bytes of an item.
_LITTLE, _BIG = Struct("<L").unpack_from, Struct(">L").unpack_from
_ITEM_LITTLE, _ITEM_BIG = Struct("<HHL").unpack_from, Struct(">HHL").unpack_from
_READERS = {
    IMPLICIT: (Struct("<HHL").unpack_from, _LITTLE, _ITEM_LITTLE, b"\xfe\xff\x00\xe0"),
    EXPLICIT: (Struct("<HH2sH").unpack_from, _LITTLE, _ITEM_LITTLE, b"\xfe\xff\x00\xe0"),
    BIG_ENDIAN: (Struct(">HH2sH").unpack_from, _BIG, _ITEM_BIG, b"\xff\xfe\xe0\x00"),
}


class End(Enum):
    """How a walk ended."""

    COMPLETE = "the last element ends where the file ends"
    THERE = "the elements that were asked for have ended"
    CUT = "the file ends inside an element"
    CUT_IN_PIXEL_DATA = "the file ends inside the pixel data"
    LOST = "what follows is no element"
    LIMIT = "there is more than is looked at"


@dataclass(slots=True)
class Walk:
    """What was seen on the way.

    Attributes:
        values: of the wanted tags on the top level, at most `LONGEST_VALUE` bytes each. Of a tag that is there twice
            the first counts, as for DCMTK.
        vrs: the VR that each of them is written with; empty where the encoding is implicit.
        position: where the walk ended.
        elements: how many elements of the top level were passed, in rising order of their tags.
        regular: every one of them had a known VR and a higher tag than the one before.
        damaged: a sequence holds something else than items, and its length has led past it.
    """

    values: dict[int, bytes] = field(default_factory=dict)
    vrs: dict[int, bytes] = field(default_factory=dict)
    end: End = End.LOST
    position: int = 0
    elements: int = 0
    nesting: int = 0
    regular: bool = True
    damaged: bool = False


class Source(Protocol):
    """Bytes that can be had from any position."""

    size: int

    def read(self, position: int, length: int) -> bytes:
        """That many bytes; fewer only at the end."""
        ...


class Seekable(Protocol):
    """What is needed of a file."""

    def seek(self, offset: int, /) -> int:
        """Go to a position."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes from there."""


class FileSource:
    """A file of which the first bytes were read already."""

    def __init__(self, file: Seekable, size: int, head: bytes) -> None:
        self._file = file
        self.size = size
        self._head = head

    def read(self, position: int, length: int) -> bytes:
        """That many bytes; fewer only at the end of the file."""
        if position + length <= len(self._head):
            return self._head[position : position + length]
        if position >= self.size:
            return b""
        self._file.seek(position)
        return read_whole(self._file, length)


def read_whole(file: Seekable, length: int) -> bytes:
    """That many bytes from where a file stands, fewer at its end.

    A share may give less at once than it was asked for.
    """
    data = file.read(length)
    while data and len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data


def walk(
    source: Source,
    position: int,
    encoding: Encoding,
    wanted: frozenset[int],
    *,
    only_group: int | None = None,
    until: int | None = None,
) -> Walk:
    """Walk from an element to the end of the file, of a group, or to a position.

    Where the standard leaves open how a fault is read, it is read as DCMTK does, by which Orthanc reads files.

    Args:
        wanted: tags (group << 16 | element) whose values are to be kept.
        only_group: stop before the first element of another group.
        until: stop before the first element that begins there or behind it.
    """
    seen = Walk()
    seen.end = _walk(source, position, encoding, wanted, only_group, until, seen)
    return seen


class _Sequence(NamedTuple):
    """An open sequence.

    Attributes:
        end: None if it ends at its delimiter.
        around: the encoding of what is around it.
        certain: it is one by its VR, its length or the dictionary, not only because it begins like one.
    """

    end: int | None
    around: Encoding
    certain: bool


def _walk(  # noqa: PLR0911, PLR0912, PLR0915  # one loop over headers: every call in it would cost as much as itself
    source: Source,
    position: int,
    encoding: Encoding,
    wanted: frozenset[int],
    only_group: int | None,
    until: int | None,
    seen: Walk,
) -> End:
    size = source.size
    base, data = position, source.read(position, _WINDOW)
    implicit = encoding.implicit
    unpack, long_length, item_header, item_bytes = _READERS[encoding]
    frames: list[_Sequence] = []
    previous, filled = -1, 0
    fault: End | None = None  # what is wrong at this place
    for _ in range(_MOST_ELEMENTS):
        if fault:
            # A sequence whose length is known can hold anything: what follows it stands where the length says.
            while frames and frames[-1].end is None:
                encoding = frames.pop().around
            if not frames:
                return fault
            end, encoding, certain = frames.pop()
            implicit = encoding.implicit
            unpack, long_length, item_header, item_bytes = _READERS[encoding]
            seen.damaged = seen.damaged or certain
            position, fault = end or size, None
        while frames and frames[-1].end is not None and position >= frames[-1].end:
            if position > frames[-1].end:
                fault = End.LOST
                break
            encoding = frames.pop().around
            implicit = encoding.implicit
            unpack, long_length, item_header, item_bytes = _READERS[encoding]
        if fault:
            continue
        seen.position = position
        if position >= size:
            return End.CUT if frames else End.COMPLETE
        offset = position - base
        if offset + 12 > len(data):
            base, data, offset = position, source.read(position, _WINDOW), 0
            if len(data) < 8:
                fault = End.CUT if position + 8 > size else End.LIMIT
                continue
        if only_group is not None and not frames and only_group != item_header(data, offset)[0]:
            return End.THERE
        if until is not None and position >= until and not frames:
            return End.THERE
        # The header: tag, VR, length
        if implicit:
            group, element, length = unpack(data, offset)
            tag, vr, value = group << 16 | element, b"", position + 8
        else:
            group, element, vr, length = unpack(data, offset)
            tag, value = group << 16 | element, position + 8
            if group == 0xFFFE:
                _, _, length = item_header(data, offset)
                vr = b""
            elif vr not in SHORT_VRS:
                # To DCMTK two capital letters are a long VR, perhaps one of the future; anything else is a short one.
                known = vr in LONG_VRS
                if not known:
                    seen.regular = False
                if known or (vr.isalpha() and vr.isupper()) or vr in _LONG_IN_DCMTK:
                    if offset + 12 > len(data):
                        fault = End.CUT if position + 12 > size else End.LIMIT
                        continue
                    (length,) = long_length(data, offset + 8)
                    value += 4
        # Items and delimiters: the elements in them are walked as one row, only the ends of sequences count.
        if group == 0xFFFE:
            if not frames:
                if tag == _ITEM_END:  # DCMTK reads no further
                    return End.COMPLETE
                if tag in {_ITEM, _SEQUENCE_END} or length == _UNDEFINED:
                    return End.LOST
                if value + length > size:
                    return End.CUT
                value += length
            elif tag == _SEQUENCE_END:
                if frames[-1].end is not None:
                    fault = End.LOST
                    continue
                encoding = frames.pop().around
                implicit = encoding.implicit
                unpack, long_length, item_header, item_bytes = _READERS[encoding]
            elif tag not in {_ITEM, _ITEM_END}:
                fault = End.LOST
                continue
            elif length != _UNDEFINED and value + length > size:
                fault = End.CUT
                continue
            position = value
            continue
        if not frames:
            if tag == 0 and length == 0:  # zeros as filling, mostly behind the last element
                if not seen.elements:
                    return End.LOST
                zeros = len(data) - offset - len(data[offset:].lstrip(b"\0"))
                position += zeros - zeros % 8
                filled += zeros
                if filled > _MOST_FILLING:
                    return End.LIMIT
                continue
            if tag <= previous:
                seen.regular = False
            previous = tag
            seen.elements += 1
            if tag in wanted and tag not in seen.values:
                kept = min(length, LONGEST_VALUE) if length != _UNDEFINED and vr != b"SQ" else 0
                seen.vrs[tag] = vr if length != _UNDEFINED else b"SQ"
                if value + kept <= base + len(data):
                    seen.values[tag] = data[value - base : value - base + kept]
                else:
                    seen.values[tag] = source.read(value, kept)
                    if len(seen.values[tag]) < kept and value + kept <= size:
                        del seen.values[tag]
                        return End.LIMIT
        # The value
        if length == _UNDEFINED:
            if tag in PIXEL_DATA or vr in _FRAGMENTS:
                seen.damaged = seen.damaged or tag not in PIXEL_DATA  # only pixel data may be in fragments
                end_of_fragments = _fragments(source, value, item_header)
                if isinstance(end_of_fragments, int):
                    position = end_of_fragments
                elif end_of_fragments is End.CUT and tag in PIXEL_DATA and not frames:
                    return End.CUT_IN_PIXEL_DATA
                else:
                    fault = end_of_fragments
                continue
            if value == size and not frames:  # nothing of the sequence is there, and DCMTK does not miss it
                seen.position = size
                return End.COMPLETE
            frames.append(_Sequence(None, encoding, certain=True))
            if (
                vr == b"UN"
            ):  # PS3.5, 6.2.2: of unknown VR and undefined length: implicit and little endian in any encoding
                encoding, implicit = IMPLICIT, True
                unpack, long_length, item_header, item_bytes = _READERS[encoding]
            seen.nesting = max(seen.nesting, len(frames))
            position = value
            continue
        end_of_value = value + length
        if end_of_value > size:
            if not frames and tag in PIXEL_DATA:
                return End.CUT_IN_PIXEL_DATA
            fault = End.CUT
            continue
        offset = value - base
        is_sequence = certainly = vr == b"SQ"
        if not vr and length == 0 and len(frames) >= seen.nesting:  # empty, and no VR says whether it is one
            is_sequence = certainly = _is_sequence_by_dictionary(tag)
        elif not vr and length >= 8 and data.startswith(item_bytes, offset):
            certainly = _is_sequence_by_dictionary(tag)
            is_sequence = certainly or not dictionary_has_tag(tag)
        if is_sequence:
            seen.nesting = max(seen.nesting, len(frames) + 1)
            if end_of_value > base + len(data) or (
                # With so few items in it, it cannot be nested too deep.
                len(frames) + 1 + data.count(item_bytes, offset, offset + length) > DEEPEST_SAFE_NESTING
            ):
                frames.append(_Sequence(end_of_value, encoding, certainly))
                position = value
                continue
        position = end_of_value
    return End.LIMIT


def _is_sequence_by_dictionary(tag: int) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"


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
