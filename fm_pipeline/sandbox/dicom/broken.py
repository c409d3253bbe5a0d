"""Damaged DICOM files, made from valid ones with a seeded random generator."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from fm_pipeline.sandbox.dicom.instances import OTHER_KINDS, as_file, headerless, image, without_pixels


def broken_files(count: int, seed: int = 20_251_122) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents. Some files may still be valid, because not every change damages a file."""
    rng = random.Random(seed)  # noqa: S311  # reproducible, not secret
    originals = [
        as_file(image("broken explicit")),
        as_file(image("broken implicit"), ImplicitVRLittleEndian),
        as_file(image("broken big"), ExplicitVRBigEndian),
        as_file(image("broken deflated"), DeflatedExplicitVRLittleEndian),
        headerless(image("broken headerless")),
        *(as_file(without_pixels(kind, "broken")) for kind in OTHER_KINDS),
    ]
    for number in range(count):
        change = rng.choice(_CHANGES)
        content = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 3)):
            change(content, rng)
        yield f"{number:03}-{change.__name__.strip('_')}.dcm", bytes(content)


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content) + 1) :]


def _flip(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 20)):
        if content:
            content[_early(content, rng)] ^= 1 << rng.randrange(8)


def _blank(content: bytearray, rng: random.Random) -> None:
    start, length = _early(content, rng), rng.randint(1, 300)
    content[start : start + length] = bytes(len(content[start : start + length]))


def _noise(content: bytearray, rng: random.Random) -> None:
    start, length = _early(content, rng), rng.randint(1, 300)
    content[start : start + length] = rng.randbytes(len(content[start : start + length]))


def _leave_out(content: bytearray, rng: random.Random) -> None:
    start = _early(content, rng)
    del content[start : start + rng.randint(1, 40)]


def _insert(content: bytearray, rng: random.Random) -> None:
    start = _early(content, rng)
    content[start:start] = rng.randbytes(rng.randint(1, 40))


def _repeat(content: bytearray, rng: random.Random) -> None:
    start = _early(content, rng)
    content[start:start] = content[start : start + rng.randint(1, 400)]


def _append(content: bytearray, rng: random.Random) -> None:
    content += rng.randbytes(rng.randint(1, 600))


def _other(content: bytearray, rng: random.Random) -> None:
    """Replace the content with something other than DICOM."""
    content[:] = rng.choice(
        [b"", b"\0" * 5_000, b"%PDF-1.7\n" * 9, b"\xff\xd8\xff\xe0" * 99, b"text " * 99, rng.randbytes(3_000)]
    )


def _early(content: bytearray, rng: random.Random) -> int:
    """Return a position, mostly in the header, where a change does more damage."""
    return rng.randrange(min(len(content), rng.choice([200, 1_000, 5_000])) or 1)


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _cut,
    _flip,
    _blank,
    _noise,
    _leave_out,
    _insert,
    _repeat,
    _append,
    _other,
)
