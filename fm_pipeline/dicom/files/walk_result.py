"""What a walk through the elements of a data set finds, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class WalkEnd(Enum):
    """How a walk ended."""

    COMPLETE = "the last element ends where the file ends"
    BOUNDARY = "the requested group or range has ended"
    CUT = "the file ends inside an element"
    CUT_IN_PIXEL_DATA = "the file ends inside the pixel data"
    NOT_AN_ELEMENT = "the next bytes are not an element"
    LIMIT = "the data set exceeds a limit of the walk"


@dataclass(slots=True)
class Walk:
    """The result of a walk.

    Attributes:
        values: of the wanted tags on the top level, at most `LONGEST_VALUE` bytes each. If a tag is repeated, the first
            value counts, as in DCMTK.
        vrs: the VR of each of them as written in the file; empty where the encoding is implicit.
        position: where the walk ended.
        elements: the number of elements on the top level.
        nesting: the depth of nested sequences; exact up to the limit.
        regular: each element of the top level has a known VR and a higher tag than the one before.
        contradicted: wanted tags that the top level has again with another value.
        disorder: the first position, up to four bytes more or less, at which the top level has zeros, or a tag that is
            not higher than the one before; 0 if there is none. Perhaps another file begins there.
        damaged: a sequence holds something other than items, and the walk went on behind it by its length.
    """

    values: dict[int, bytes] = field(default_factory=dict)
    vrs: dict[int, bytes] = field(default_factory=dict)
    contradicted: set[int] = field(default_factory=set)
    end: WalkEnd = WalkEnd.LIMIT
    position: int = 0
    elements: int = 0
    nesting: int = 0
    regular: bool = True
    disorder: int = 0
    damaged: bool = False

    def keep(self, tag: int, vr: bytes, value: bytes) -> None:
        """Keep the value of a wanted tag, if it is the first one."""
        if self.values.setdefault(tag, value) != value:
            self.contradicted.add(tag)
        self.vrs.setdefault(tag, vr)
