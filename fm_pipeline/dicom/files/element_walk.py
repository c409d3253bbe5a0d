"""Walk the elements of a data set without loading their values (PS3.5, chapter 7).

The walk reads headers and steps over values, so its cost depends on the number of elements and not on the size of the
file. It returns a few values of the top level, how the data set ends, and how deep its sequences are nested. pydicom
must read the whole file to find the last two, and takes four times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from fm_pipeline.dicom.files.byte_source import ByteSource
from fm_pipeline.dicom.files.elements import (
    DELIMITER_GROUP,
    IMPLICIT,
    ITEM,
    ITEM_END,
    ITEMS,
    LONG_IN_DCMTK,
    LONG_VRS,
    PIXEL_DATA,
    READERS,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED_LENGTH,
    Encoding,
)
from fm_pipeline.dicom.files.fragments import MOST_STEPS, behind_fragments
from fm_pipeline.dicom.files.walk_result import Walk, WalkEnd
from fm_pipeline.dicom.model import DEEPEST_SAFE_NESTING

LONGEST_VALUE = 1 << 16  # bytes kept of a wanted value; white space may make up most of them
_MOST_PADDING = 1 << 26  # bytes of zeros
_WINDOW = 1 << 16
_BEFORE_DELIMITERS = 0xFFFDFFFF  # the last tag below that group
_FRAGMENTS = frozenset({b"OB", b"OW", b"OV", b"OD", b"OF", b"OL"})
_NO_VR, _VRS_OF_ZEROS = frozenset({b""}), frozenset({b"", b"\0\0"})


def walk(
    source: ByteSource,
    position: int,
    encoding: Encoding,
    wanted: frozenset[int],
    *,
    only_group: int | None = None,
    until: int | None = None,
) -> Walk:
    """Walk from an element to the end of the file, of a group, or to a position.

    Where the standard does not define how a fault is read, the walk reads it as DCMTK does: Orthanc uses DCMTK.

    Args:
        wanted: tags (group << 16 | element) whose values are kept.
        only_group: stop before the first element of another group.
        until: stop before the first element at or behind this position.
    """
    return _Walker(source, encoding, wanted, only_group, until).run(position)


class _Sequence(NamedTuple):
    """An open sequence.

    Attributes:
        end: None if it ends at its delimiter.
        outer: the encoding of the enclosing data set.
        certain: its VR, its length or the dictionary makes it a sequence; otherwise only its first bytes do.
    """

    end: int | None
    outer: Encoding
    certain: bool


_OPEN_ENDED = {encoding: _Sequence(None, encoding, certain=True) for encoding in READERS}


class _Walker:
    """One walk. `_pass_plain` steps over ordinary elements in one tight loop; `_decide` handles every other one.

    A step returns the position of the next element, or None when the walk has ended.
    """

    def __init__(
        self,
        source: ByteSource,
        encoding: Encoding,
        wanted: frozenset[int],
        only_group: int | None,
        until: int | None,
    ) -> None:
        self._source, self._size = source, source.size
        self._wanted, self._only_group, self._until = wanted, only_group, until
        self._base, self._data = 0, b""  # the window: bytes of the source from a position
        self._sequences: list[_Sequence] = []
        self._budget: Iterator[int] = iter(range(MOST_STEPS))
        self._walk = Walk()
        self._padding = 0
        self._previous, self._highest = -1, _BEFORE_DELIMITERS
        if only_group is not None:
            self._previous, self._highest = (only_group << 16) - 1, only_group << 16 | 0xFFFF
        self._use(encoding)

    def run(self, position: int) -> Walk:
        """Walk from a position to the end."""
        following: int | None = position
        self._load(position)
        while following is not None and (passed := self._pass_plain(following)) is not None:
            following = self._decide(passed)
        return self._walk

    def _pass_plain(self, position: int) -> int | None:  # noqa: C901, PLR0912, PLR0915  # see below
        """Step over elements that need no decision: in order, inside the window, and with a header that is understood.

        This is the only loop that every element goes through. Each further call in it makes a walk 1.2 to 2 times as
        long, so it has more branches than other functions; whatever is rare is left to `_decide`.
        """
        walk, sequences, wanted, previous = self._walk, self._sequences, self._wanted, self._previous
        data, base, plain, open_ended = self._data, self._base, self._plain_vrs, self._open_ended
        unpack, long_length, item_header, item = self._readers
        depth, nesting, elements = len(sequences) + 1, walk.nesting, 0
        nested = depth > 1
        highest = _BEFORE_DELIMITERS if nested else self._highest
        limit = self._limit()
        last = limit - 8
        for _ in self._budget:
            if position > last:
                break
            group, element, vr, length = unpack(data, position - base)
            tag, value = group << 16 | element, position + 8
            if tag > highest:
                if tag == SEQUENCE_END:
                    if depth < 3 or sequences[-1] is not open_ended:
                        break
                    sequences.pop()
                    depth -= 1
                    limit = self._limit()
                    last = limit - 8
                else:
                    _, _, length = item_header(data, position - base)
                    if not nested or tag not in ITEMS or (length != UNDEFINED_LENGTH and value + length > self._size):
                        break
                position = value
                continue
            if vr not in plain:
                if vr not in LONG_VRS or position > last - 4:
                    break
                (length,) = long_length(data, position - base + 8)
                value += 4
            if length == UNDEFINED_LENGTH:
                if not nested or (vr and vr != b"SQ") or tag in PIXEL_DATA:
                    break
                sequences.append(open_ended)
                depth += 1
                nesting = max(nesting, depth - 1)
                limit = self._limit()
                last = limit - 8
                position = value
                continue
            following = value + length
            if following > limit or (not nested and (tag <= previous or not tag)):
                break
            if vr == b"SQ" or (
                not vr
                and ((not length and depth > nesting) or data.startswith(item, value - base))
                and self._is_sequence(tag, vr, length, value)[0]
            ):
                if not nested or depth + data.count(item, value - base, following - base) > DEEPEST_SAFE_NESTING:
                    break
                nesting = max(nesting, depth)
            if not nested:
                previous = tag
                elements += 1
                if tag in wanted:
                    walk.keep(tag, vr, data[value - base : following - base])
            position = following
        else:
            walk.position, position = position, -1
        self._previous = previous
        walk.elements += elements
        walk.nesting = nesting
        return None if position < 0 else position

    def _limit(self) -> int:
        """Return the position up to which elements may be plain: of the window, the sequence, the requested range."""
        limit = min(self._base + len(self._data), self._size)
        if self._sequences:
            end = self._sequences[-1].end
            return limit if end is None else min(limit, end)
        return limit if self._until is None else min(limit, self._until)

    def _decide(self, position: int) -> int | None:
        """Handle the end of a sequence, of the window and of the walk; then one element."""
        sequences = self._sequences
        while sequences and (end := sequences[-1].end) is not None and position >= end:
            if position > end:
                return self._fault(WalkEnd.NOT_AN_ELEMENT)
            self._use(sequences.pop().outer)
        self._walk.position = position
        if position >= self._size:
            return self._end(WalkEnd.CUT if sequences else WalkEnd.COMPLETE)
        if position + 12 > self._base + len(self._data):
            self._load(position)
            if len(self._data) < 8:
                return self._fault(self._cut_or_limit(position + 8))
        if not sequences and self._at_boundary(position):
            return self._end(WalkEnd.BOUNDARY)
        return self._element(position)

    def _at_boundary(self, position: int) -> bool:
        if self._until is not None and position >= self._until:
            return True
        if self._only_group is None:
            return False
        group, _, _ = self._readers[2](self._data, position - self._base)
        return bool(group != self._only_group)

    def _element(self, position: int) -> int | None:
        header = self._header(position)
        if header is None:
            return self._fault(self._cut_or_limit(position + 12))
        tag, vr, length, value = header
        if tag >> 16 == DELIMITER_GROUP:
            return self._inner_delimiter(tag, length, value) if self._sequences else self._lone(tag, length, value)
        if not self._sequences:
            if tag == 0 and length == 0 and vr in _VRS_OF_ZEROS:
                return self._skip_padding(position)
            if not self._note(tag, vr, length, value):
                return self._end(WalkEnd.LIMIT)
        if length == UNDEFINED_LENGTH:
            return self._undefined_length(tag, vr, value)
        return self._defined_length(tag, vr, length, value)

    def _header(self, position: int) -> tuple[int, bytes, int, int] | None:
        """Return tag, VR, length and the position of the value; None if the header is cut."""
        unpack, long_length, item_header, _ = self._readers
        data, offset = self._data, position - self._base
        group, element, vr, length = unpack(data, offset)
        tag, value = group << 16 | element, position + 8
        if group == DELIMITER_GROUP:
            return tag, b"", item_header(data, offset)[2], value
        if vr not in self._plain_vrs:
            known = vr in LONG_VRS
            if not known:
                self._walk.regular = False
            # To DCMTK, two capital letters are a long VR, perhaps one of the future. Anything else is a short one.
            if known or (vr.isalpha() and vr.isupper()) or vr in LONG_IN_DCMTK:
                if offset + 12 > len(data):
                    return None
                (length,) = long_length(data, offset + 8)
                value += 4
        return tag, vr, length, value

    def _lone(self, tag: int, length: int, value: int) -> int | None:
        """Handle an item or a delimiter outside of any sequence."""
        if tag == ITEM_END:  # DCMTK stops reading here
            return self._end(WalkEnd.COMPLETE)
        if tag in {ITEM, SEQUENCE_END} or length == UNDEFINED_LENGTH:
            return self._end(WalkEnd.NOT_AN_ELEMENT)
        if value + length > self._size:
            return self._end(WalkEnd.CUT)
        return value + length

    def _inner_delimiter(self, tag: int, length: int, value: int) -> int | None:
        """Handle an item or a delimiter in a sequence. Items are not tracked: only the ends of sequences matter."""
        if tag == SEQUENCE_END:
            if self._sequences[-1].end is not None:
                return self._fault(WalkEnd.NOT_AN_ELEMENT)
            self._use(self._sequences.pop().outer)
        elif tag not in ITEMS:
            return self._fault(WalkEnd.NOT_AN_ELEMENT)
        elif length != UNDEFINED_LENGTH and value + length > self._size:
            return self._fault(WalkEnd.CUT)
        return value

    def _skip_padding(self, position: int) -> int | None:
        """Step over zeros, which mostly stand behind the last element."""
        if not self._walk.elements:
            return self._end(WalkEnd.NOT_AN_ELEMENT)
        self._walk.disorder = self._walk.disorder or position
        rest = self._data[position - self._base :]
        zeros = len(rest) - len(rest.lstrip(b"\0"))
        self._padding += zeros
        if self._padding > _MOST_PADDING:
            return self._end(WalkEnd.LIMIT)
        return position + zeros - zeros % 8

    def _note(self, tag: int, vr: bytes, length: int, value: int) -> bool:
        """Note an element of the top level, and keep its value if it is wanted. False if the value cannot be read."""
        walk = self._walk
        if tag <= self._previous:
            walk.regular, walk.disorder = False, walk.disorder or value - 12
        self._previous = tag
        walk.elements += 1
        if tag not in self._wanted:
            return True
        undefined = length == UNDEFINED_LENGTH
        kept = 0 if undefined or vr == b"SQ" else min(length, LONGEST_VALUE)
        offset = value - self._base
        content = self._data[offset : offset + kept]
        if len(content) < kept:
            if tag in walk.values:  # only the first value counts, and a file may have millions of others
                return True
            content = self._source.read(value, kept)
            if len(content) < kept and value + kept <= self._size:
                return False
        walk.keep(tag, b"SQ" if undefined else vr, content)
        return True

    def _undefined_length(self, tag: int, vr: bytes, value: int) -> int | None:
        """Enter a sequence of undefined length, or step over fragments."""
        if tag in PIXEL_DATA or vr in _FRAGMENTS:
            self._walk.damaged = self._walk.damaged or tag not in PIXEL_DATA  # only pixel data may be in fragments
            behind = behind_fragments(self._source, value, self._readers[2])
            if isinstance(behind, int):
                return behind
            if behind is WalkEnd.CUT and tag in PIXEL_DATA and not self._sequences:
                return self._end(WalkEnd.CUT_IN_PIXEL_DATA)
            return self._fault(behind)
        if value == self._size and not self._sequences:  # the whole sequence is missing, and DCMTK does not notice
            self._walk.position = value
            return self._end(WalkEnd.COMPLETE)
        self._enter(self._open_ended)
        if vr == b"UN":  # PS3.5, 6.2.2: such a value is implicit and little endian in any encoding
            self._use(IMPLICIT)
        return value

    def _defined_length(self, tag: int, vr: bytes, length: int, value: int) -> int | None:
        """Step over a value, or enter a sequence that may be nested too deep."""
        end = value + length
        if end > self._size:
            if tag in PIXEL_DATA and not self._sequences:
                return self._end(WalkEnd.CUT_IN_PIXEL_DATA)
            return self._fault(WalkEnd.CUT)
        is_sequence, certain = self._is_sequence(tag, vr, length, value)
        if is_sequence:
            depth = len(self._sequences) + 1
            self._walk.nesting = max(self._walk.nesting, depth)
            offset, item = value - self._base, self._readers[3]
            inside_window = offset + length <= len(self._data)
            # A sequence with so few items in it cannot be nested too deep.
            if not inside_window or depth + self._data.count(item, offset, offset + length) > DEEPEST_SAFE_NESTING:
                self._enter(_Sequence(end, self._encoding, certain))
                return value
        return end

    def _is_sequence(self, tag: int, vr: bytes, length: int, value: int) -> tuple[bool, bool]:
        """Return whether an element of defined length is a sequence, and whether that is certain."""
        if vr:
            return vr == b"SQ", vr == b"SQ"
        if length == 0 and len(self._sequences) >= self._walk.nesting:  # an empty one still counts as a level
            known = _is_sequence_by_dictionary(tag)
            return known, known
        if length >= 8 and self._data.startswith(self._readers[3], value - self._base):
            known = _is_sequence_by_dictionary(tag)
            return known or not dictionary_has_tag(tag), known
        return False, False

    def _enter(self, sequence: _Sequence) -> None:
        self._sequences.append(sequence)
        self._walk.nesting = max(self._walk.nesting, len(self._sequences))

    def _use(self, encoding: Encoding) -> None:
        self._encoding, self._readers, self._open_ended = encoding, READERS[encoding], _OPEN_ENDED[encoding]
        self._plain_vrs = _NO_VR if encoding.implicit else SHORT_VRS

    def _load(self, position: int) -> None:
        self._base, self._data = position, self._source.read(position, _WINDOW)

    def _cut_or_limit(self, needed: int) -> WalkEnd:
        """Tell a file that ends too early from a source that gives no more of it."""
        return WalkEnd.CUT if needed > self._size else WalkEnd.LIMIT

    def _end(self, end: WalkEnd) -> int | None:
        self._walk.end = end
        return None

    def _fault(self, end: WalkEnd) -> int | None:
        """Go on behind the innermost sequence of defined length; without one, the walk ends.

        Such a sequence can hold anything, because its length says where the next element is.
        """
        sequences = self._sequences
        while sequences and sequences[-1].end is None:
            self._use(sequences.pop().outer)
        if not sequences:
            return self._end(end)
        sequence = sequences.pop()
        self._use(sequence.outer)
        self._walk.damaged = self._walk.damaged or sequence.certain
        if sequence.end is not None and sequence.end < self._base:  # sequences in it have led behind its end
            self._load(sequence.end)
        return sequence.end


def _is_sequence_by_dictionary(tag: int) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
