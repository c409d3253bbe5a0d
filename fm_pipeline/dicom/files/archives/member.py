"""What an archive says of one file in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, where its data are, and how they are packed.

    Attributes:
        name: its bytes as `os.fsdecode` has them.
        size: bytes when it is unpacked.
        reason: why it is not read: an id of `reasons`; None if it is.
        position: of a ZIP, where its local header begins; of a tar, where its data begin.
        packed_size, method, crc: of a ZIP.
        pieces: of a tar with holes (GNU sparse), where its data belong: position and length of each piece.
    """

    name: str
    size: int
    reason: str | None = None
    position: int = 0
    packed_size: int = 0
    method: int = 0
    crc: int = 0
    pieces: tuple[tuple[int, int], ...] = ()
