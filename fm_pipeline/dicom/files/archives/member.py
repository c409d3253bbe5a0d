"""A member of an archive, as its directory or header describes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, where its data are, and how they are packed.

    Attributes:
        name: decoded with `os.fsdecode`.
        size: unpacked, in bytes.
        reason: why it is not read: an id of `reasons`; None if it is read.
        position: in a ZIP, of its local header; in a tar, of its data.
        packed_size, method, crc: in a ZIP only.
        pieces: in a sparse member of a GNU tar, the position and length of each piece of data.
    """

    name: str
    size: int
    reason: str | None = None
    position: int = 0
    packed_size: int = 0
    method: int = 0
    crc: int = 0
    pieces: tuple[tuple[int, int], ...] = ()
