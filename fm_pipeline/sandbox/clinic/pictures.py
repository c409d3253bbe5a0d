"""Synthetic photographs: small JPEGs by number, each with different bytes, made in microseconds.

All show the same: four coloured corners. Upright is red, green / blue, white, whatever EXIF's orientation says, so a
picture shown sideways is found by its corners. https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf
"""

from __future__ import annotations

import functools
from io import BytesIO

from PIL import ExifTags, Image, PngImagePlugin

SIZE = (64, 48)  # pixels as displayed
CORNERS = ((220, 30, 30), (30, 180, 30), (30, 30, 220), (240, 240, 240))  # left to right, top to bottom

# EXIF orientation -> how an upright picture is stored, so that a viewer that applies it shows it upright.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def upright(size: tuple[int, int] = SIZE) -> Image.Image:
    """Return the picture with its four corners as displayed."""
    image = Image.new("RGB", (2, 2))
    image.putdata(CORNERS)
    return image.resize(size, Image.Resampling.NEAREST)


def stored(image: Image.Image, orientation: int | None) -> Image.Image:
    """Return the picture as a camera in that orientation stores it."""
    return image.transpose(STORED[orientation]) if orientation in STORED else image


def exif(orientation: int) -> Image.Exif:
    """Return EXIF data with an orientation."""
    facts = Image.Exif()
    facts[ExifTags.Base.Orientation] = orientation
    facts[ExifTags.Base.Make] = "Sandbox"
    return facts


def orientation_of(number: int) -> int | None:
    """Return the orientation of the picture with that number: mostly none, another one for every tenth."""
    return None if number % 2 else (number // 10) % 7 + 2 if number % 10 == 0 else 1


def jpeg(number: int, *, size: tuple[int, int] = SIZE) -> bytes:
    """Return the photograph with a number: its bytes, and nearly always its length, differ from all others.

    Args:
        number: zero or more.
        size: in pixels as displayed.
    """
    head, rest = _base(size, orientation_of(number))
    comment = f"photograph {number}".encode() + b"." * (number * 7919 % 251)
    return head + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + rest


def png(number: int) -> bytes:
    """Return the same photograph as a PNG."""
    file = BytesIO()
    words = PngImagePlugin.PngInfo()
    words.add_text("Comment", f"photograph {number}")
    upright().save(file, "PNG", pnginfo=words)
    return file.getvalue()


@functools.cache
def _base(size: tuple[int, int], orientation: int | None) -> tuple[bytes, bytes]:
    """Return a JPEG in two parts, split after its first segment, where a comment can be inserted."""
    file = BytesIO()
    facts = {"exif": exif(orientation)} if orientation else {}
    stored(upright(size), orientation).save(file, "JPEG", quality=60, **facts)
    data = file.getvalue()
    end = 4 + int.from_bytes(data[4:6], "big")
    return data[:end], data[end:]
