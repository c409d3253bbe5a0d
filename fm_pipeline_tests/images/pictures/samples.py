"""Picture files for tests: saved ones, and valid ones to which metadata of any kind was added by hand."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from random import Random
from typing import Any

import pillow_heif
from PIL import Image, ImageCms

from fm_pipeline.images.pictures.inspect import RejectedPicture, inspect_with_thumbnail
from fm_pipeline.sandbox.clinic.pictures import upright

SMALL = (64, 48)
ORIENTATION = 0x112


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A file of Pillow's."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def heic(image: Image.Image, **options: Any) -> bytes:
    """A HEIC file."""
    file = BytesIO()
    pillow_heif.from_pillow(image).save(file, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    """The picture with its pixels."""
    image = Image.open(BytesIO(data))
    image.load()
    return image


def thumbnail(data: bytes) -> bytes:
    """The preview of a file that is a whole picture."""
    inspected = inspect_with_thumbnail(data)
    assert not isinstance(inspected, RejectedPicture), inspected.reason
    return inspected[1]


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def png_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def webp_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a WEBP, padded to an even length."""
    return name + struct.pack("<L", len(content)) + content + bytes(len(content) % 2)


def jpeg_with(*segments: bytes, image: Image.Image | None = None) -> bytes:
    """A JPEG with further segments at its beginning."""
    plain = saved(image or upright(SMALL), "JPEG")
    return plain[:2] + b"".join(segments) + plain[2:]


def png_with(*chunks: bytes, image: Image.Image | None = None) -> bytes:
    """A PNG with further chunks behind its header."""
    plain = saved(image or upright(SMALL), "PNG")
    return plain[:33] + b"".join(chunks) + plain[33:]


def webp_with(*chunks: bytes, image: Image.Image | None = None) -> bytes:
    """A WEBP in its extended form, with metadata before and behind the picture."""
    image = image or upright(SMALL)
    width, height = ((each - 1).to_bytes(3, "little") for each in image.size)
    before = [chunk for chunk in chunks if chunk.startswith(b"ICCP")]
    behind = [chunk for chunk in chunks if chunk not in before]
    head = webp_chunk(b"VP8X", bytes([0x2C, 0, 0, 0]) + width + height)
    body = head + b"".join(before) + saved(image, "WEBP")[12:] + b"".join(behind)
    return b"RIFF" + struct.pack("<L", len(body) + 4) + b"WEBP" + body


def exif_block(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """An EXIF block of (tag, type, count, value); long values are put behind."""
    directory, values, at = struct.pack(f"{order}H", len(entries)), b"", 8 + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in sorted(entries):
        if len(value) <= 4:
            directory += struct.pack(f"{order}HHL", tag, kind, count) + value.ljust(4, b"\0")
        else:
            directory += struct.pack(f"{order}HHLL", tag, kind, count, at + len(values))
            values += value
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8) + directory + bytes(4) + values


def turned(orientation: int, order: str = "<") -> tuple[int, int, int, bytes]:
    """The entry of EXIF's orientation."""
    return ORIENTATION, 3, 1, struct.pack(f"{order}H", orientation)


def tiff_with(*entries: tuple[int, int, int, bytes], image: Image.Image | None = None) -> bytes:
    """A TIFF with further tags, whose values have 4 bytes: a directory of its own behind the file."""
    data = saved(image or upright(SMALL), "TIFF")
    (at,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    tags = {
        struct.unpack_from("<H", data, each)[0]: data[each : each + 12]
        for each in range(at + 2, at + 2 + count * 12, 12)
    }
    tags |= {
        tag: struct.pack("<HHL", tag, kind, number) + value[:4].ljust(4, b"\0") for tag, kind, number, value in entries
    }
    data += bytes(len(data) % 2)
    directory = struct.pack("<H", len(tags)) + b"".join(tags[tag] for tag in sorted(tags)) + bytes(4)
    return data[:4] + struct.pack("<L", len(data)) + data[8:] + directory


def grey_tiff(order: str, bits: int, *, zero_is_white: bool) -> bytes:
    """An uncompressed grey TIFF of 40 x 20, its left half at a tenth of the range and its right half at nine tenths.

    Args:
        order: of bytes, `<` or `>`.
        bits: a sample.
    """
    samples = [(2**bits - 1) * share // 10 for _ in range(20) for share in [1] * 20 + [9] * 20]
    if bits == 12:  # packed, the higher bits first, in both orders of bytes
        pixels = int("".join(f"{sample:012b}" for sample in samples), 2).to_bytes(len(samples) * 3 // 2, "big")
    else:
        pixels = struct.pack(f"{order}{len(samples)}{'H' if bits == 16 else 'L'}", *samples)
    values = {256: 40, 257: 20, 258: bits, 259: 1, 262: 0 if zero_is_white else 1, 273: 8, 277: 1, 278: 20}
    values[279] = len(pixels)
    entries = b"".join(struct.pack(f"{order}HHLL", tag, 4, 1, value) for tag, value in values.items())
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8 + len(pixels))
    return head + pixels + struct.pack(f"{order}H", len(values)) + entries + bytes(4)


# --- any metadata -----------------------------------------------------------------------------------------------------

_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_EXIF_TAGS = [
    *(0x100, 0x101, 0x102, 0x103, 0x106, 0x10E, 0x10F, 0x111, 0x117, 0x11A, 0x128, 0x13B, 0x142, 0x14A, 0x201, 0x202),
    *(0x213, 0x214, 0x8298, 0x8769, 0x8825, 0x9286, 0x927C, 0xA005),
]
_EXIF_TYPES = [*range(14), 16, 99]
_TIFF_TAGS = [0x10E, 0x10F, 0x110, ORIENTATION, 0x131, 0x132, 0x13B, 0x2BC, 0x8298, 0x83BB, 0x8769, 0x8773, 0x8825]
_JPEG_HEADS = [
    *(b"", b"JFIF\0", b"Photoshop 3.0\0", b"8BIM", b"MPF\0", b"http://ns.adobe.com/xap/1.0/\0", b"FPXR\0", b"Ducky"),
    b"ICC_PROFILE\0\1\1",
]
_PNG_NAMES = [
    *(
        b"gAMA",
        b"cHRM",
        b"sRGB",
        b"iCCP",
        b"pHYs",
        b"tEXt",
        b"zTXt",
        b"iTXt",
        b"eXIf",
        b"tIME",
        b"bKGD",
        b"sBIT",
        b"hIST",
    ),
    *(b"sPLT", b"oFFs", b"cICP", b"prVt"),
]


def _junk(chance: Random, most: int = 40) -> bytes:
    return chance.randbytes(chance.randrange(most))


def _exif(chance: Random) -> bytes:
    order = chance.choice("<>")
    entries = [
        (
            chance.choice([*_EXIF_TAGS, chance.randrange(65_536)]),
            chance.choice(_EXIF_TYPES),
            chance.choice([0, 1, 1, 1, 2, 3, 70_000]),
            _junk(chance, 17),
        )
        for _ in range(chance.randrange(8))
    ]
    return exif_block(*entries, turned(chance.randrange(10), order), order=order)


def _profile(chance: Random) -> bytes:
    profile = bytearray(_PROFILE)
    for _ in range(chance.randrange(1, 20)):
        profile[chance.randrange(len(profile))] = chance.randrange(256)
    return bytes(profile)


def _any_jpeg(chance: Random) -> bytes:
    return jpeg_with(
        chance.choice(
            [
                segment(0xE1, b"Exif\0\0" + _exif(chance)),
                segment(0xE2, b"ICC_PROFILE\0\1\1" + _profile(chance)),
                segment(chance.choice([*range(0xE0, 0xEE), 0xEF, 0xFE]), chance.choice(_JPEG_HEADS) + _junk(chance)),
            ]
        )
    )


def _any_png(chance: Random) -> bytes:
    chunks = []
    for name in chance.choices(_PNG_NAMES, k=chance.randrange(1, 5)):
        fitting = {b"eXIf": _exif(chance), b"iCCP": b"icc\0\0" + zlib.compress(_profile(chance))}.get(name)
        chunks.append(png_chunk(name, fitting if fitting and chance.random() < 0.6 else _junk(chance)))
    return png_with(*chunks)


def _any_webp(chance: Random) -> bytes:
    names = chance.choices([b"EXIF", b"XMP ", b"ICCP"], k=chance.randrange(1, 3))
    return webp_with(*(webp_chunk(name, chance.choice([_exif, _junk, _profile])(chance)) for name in names))


def _any_heic(chance: Random) -> bytes:
    return heic(upright(SMALL), exif=chance.choice([b"Exif\0\0" + _exif(chance), _exif(chance), _junk(chance)]) or b"x")


def _any_tiff(chance: Random) -> bytes:
    entries = [
        (
            chance.choice([*_TIFF_TAGS, chance.randrange(1_000, 30_000)]),
            chance.choice(_EXIF_TYPES[1:13]),
            count,
            _junk(chance, 5),
        )
        for count in chance.choices([0, 1, 1, 2], k=chance.randrange(1, 5))
    ]
    return tiff_with(*entries)


ANY: dict[str, Callable[[Random], bytes]] = {
    "JPEG": _any_jpeg,
    "PNG": _any_png,
    "WEBP": _any_webp,
    "HEIC": _any_heic,
    "TIFF": _any_tiff,
}
