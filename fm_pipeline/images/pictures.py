"""What a file really is, whatever it is called: a whole picture of a type and size, or why it is none.

The order is what the libraries' limits ask for: the first bytes, then the header with an explicit list of formats,
then every pixel. `Image.verify` is not enough, it calls a JPEG cut in half whole. A flipped bit inside a JPEG is
beyond any decoder; that is what hashes are for. https://pillow.readthedocs.io/en/stable/reference/Image.html

Every function may be called from several threads at once. Of a file with several frames the first one counts.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import pillow_heif
from PIL import ExifTags, Image, ImageCms, ImageOps

THUMBNAIL_PIXELS: Final = 300  # the longest side
THUMBNAIL_MIME_TYPE: Final = "image/jpeg"
_QUALITY = 80  # of a preview; about 10 kB
_DRAFT = 2 * THUMBNAIL_PIXELS  # a JPEG is decoded at a fraction of its size, never below this
_USUAL = 89_478_485  # pixels: Pillow's own limit, from which it warns; 350 MB as Pillow keeps them
_MOST = 250_000_000  # pixels of a panorama or a scan: 1 GB or a little more, and never two of them at a time
_PIXELS_A_BYTE = 100  # of a large file; a photograph has 20 at most, a bomb thousands
_LARGE_KINDS = {"JPEG", "PNG", "TIFF", "BMP"}  # the decoders of the others copy the whole picture once more
_one_large = threading.Lock()

# Pillow's name of a format -> type and suffix. All that a clinic's cameras, scanners and screens are known to make.
TYPES: Final = {
    "JPEG": ("image/jpeg", ".jpg"),
    "MPO": ("image/jpeg", ".jpg"),  # a telephone's JPEG with a second frame behind it
    "PNG": ("image/png", ".png"),
    "GIF": ("image/gif", ".gif"),
    "TIFF": ("image/tiff", ".tif"),
    "WEBP": ("image/webp", ".webp"),
    "BMP": ("image/bmp", ".bmp"),
    "HEIF": ("image/heic", ".heic"),
}

REASONS: Final = {
    "empty": "The file has no bytes.",
    "html": "It is a web page: most likely what a server answered instead of the picture.",
    "xml": "It is XML: most likely a storage server's error message instead of the picture.",
    "pdf": "It is a PDF document.",
    "text": "It is text.",
    "unknown_type": "It is no picture of a type that is known here.",
    "too_many_pixels": f"It claims to have more than {_MOST:,} pixels, or more than {_USUAL:,} and too few bytes"
    " for them, so it was not decoded.",
    "broken": "It begins as a picture and is cut or broken.",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole picture.

    Attributes:
        mime_type: what it really is, from its bytes.
        suffix: the usual one of its type, with the dot.
        width: in pixels, as it is displayed: EXIF's orientation is applied.
        height: likewise.
    """

    mime_type: str
    suffix: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """No picture, or not a whole one. `reason` is a key of `REASONS`."""

    reason: str

    @property
    def sentence(self) -> str:
        """The reason for a reader."""
        return REASONS[self.reason]


def inspect(data: bytes) -> Picture | Rejected:
    """Decode a file's every pixel.

    Args:
        data: the whole file.

    Returns:
        What it is, or why it is none. No bytes make it raise.
    """
    looked = _decoded(data)
    return looked if isinstance(looked, Rejected) else looked[0]


def thumbnail(data: bytes) -> bytes:
    """A preview: JPEG, longest side 300 pixels (never enlarged), upright, sRGB, without any metadata.

    Raises:
        ValueError: `inspect` rejects the file; the message is the reason.
    """
    looked = inspect_with_thumbnail(data)
    if isinstance(looked, Rejected):
        raise ValueError(looked.reason)
    return looked[1]


def inspect_with_thumbnail(data: bytes) -> tuple[Picture, bytes] | Rejected:
    """Both of the above, for the price of decoding the file once."""
    looked = _decoded(data)
    if isinstance(looked, Rejected):
        return looked
    picture, image = looked
    return picture, _jpeg(_preview(image))


def _too_many(pixels: int, kind: str, size: int) -> bool:
    """Whether a picture claims more pixels than are decoded; a bomb is one whose bytes are far too few for it."""
    return pixels > _USUAL and (kind not in _LARGE_KINDS or pixels > min(_MOST, size * _PIXELS_A_BYTE))


@contextmanager
def _large() -> Iterator[None]:
    """One large picture at a time; meanwhile Pillow's TIFF reader, which asks once more, takes them too."""
    with _one_large:
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, _MOST
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def _opened(data: bytes, kind: str) -> Image.Image:
    """The picture with its header read, as `Image.open` does it, but for its limit, which is the caller's."""
    Image.init()
    return Image.OPEN[kind][0](BytesIO(data), "")


def _decoded(data: bytes) -> tuple[Picture, Image.Image] | Rejected:
    """The picture and its pixels, those of a large JPEG at a fraction of its size."""
    kind = _kind(data)
    if kind in REASONS:
        return Rejected(kind)
    if kind == "HEIF":
        _know_heif()
    try:
        image = _opened(data, kind)
        width, height = image.size
        if _too_many(width * height, kind, len(data)):
            return Rejected("too_many_pixels")
        if _lies_on_its_side(image):
            width, height = height, width
        image.draft(None, (_DRAFT, _DRAFT))  # a no-op but for JPEG; every byte is still read, so a cut is still found
        # Also a JPEG at a fraction: of a progressive one all coefficients are kept, 3 to 6 bytes a pixel.
        with _large() if width * height > _USUAL else nullcontext():
            image.load()
            image = _smaller(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Rejected("too_many_pixels")
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # decoders raise nearly anything on bytes that are not what they expect
        return Rejected("broken")
    mime_type, suffix = TYPES[image.format or kind]
    return Picture(mime_type, suffix, width, height), image


def _smaller(image: Image.Image) -> Image.Image:
    """Of a large picture what a thumbnail needs; else each step on the way there would copy all of it."""
    if image.width * image.height <= _USUAL:
        return image
    factor = max(1, max(image.size) // (2 * _DRAFT))
    if image.mode in {"L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"}:
        return image.reduce(factor)
    return image.resize((max(1, image.width // factor), max(1, image.height // factor)), Image.Resampling.NEAREST)


_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes
_HTML = re.compile(r"<(?s:.*)(<html|<!doctype html|<body)|<(html|!doctype html|head|body)")
_XML = re.compile(r"<(\?xml|[a-z][\w:.-]*(\s+[\w:.-]+\s*=|\s*/?>))")  # not "<No Access>"
_FIRST_BYTES = 1024


def _words(data: bytes) -> str:
    """The first bytes as lower-case text without what may stand before the first tag."""
    head = data[:_FIRST_BYTES]
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return head.decode(encoding, "replace").lstrip().lower()


def _is_text(data: bytes) -> bool:
    """Whether the first bytes hold letters and no control characters but line ends, tabs and form feeds."""
    words = _words(data)
    return bool(words) and all(letter.isprintable() or letter.isspace() for letter in words[:-1])


def _starts(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(magics)


# What the first bytes say: a name of Pillow's, or a reason.
_MAGICS: Final[tuple[tuple[str, Callable[[bytes], bool]], ...]] = (
    ("JPEG", _starts(b"\xff\xd8\xff")),
    ("PNG", _starts(b"\x89PNG\r\n\x1a\n")),
    ("GIF", _starts(b"GIF87a", b"GIF89a")),
    ("TIFF", _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("WEBP", lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP"),
    ("BMP", lambda data: data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS),
    ("HEIF", lambda data: data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS),
    ("pdf", lambda data: b"%PDF-" in data[:1024]),  # readers allow something before it
    ("html", lambda data: _HTML.match(_words(data)) is not None),
    ("xml", lambda data: _XML.match(_words(data)) is not None),
    ("text", _is_text),
)


def _kind(data: bytes) -> str:
    """What the file is by its first bytes: a key of `TYPES` or of `REASONS`."""
    if not data:
        return "empty"
    return next((name for name, fits in _MAGICS if fits(data)), "unknown_type")


@functools.cache
def _know_heif() -> None:
    """Make HEIC known to Pillow; once more does no harm."""
    pillow_heif.register_heif_opener()


def _lies_on_its_side(image: Image.Image) -> bool:
    """Whether EXIF turns it by a quarter. Pillow's TIFF and HEIC readers have turned it themselves by then."""
    if image.format in {"TIFF", "HEIF"}:
        return False
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    return orientation in {5, 6, 7, 8}


def _preview(image: Image.Image) -> Image.Image:
    """Small, upright, and in RGB of the web."""
    image = _with_eight_bits(image)
    profile = image.info.get("icc_profile")
    if image.mode in {"1", "P"} or "transparency" in image.info:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    upright = ImageOps.exif_transpose(image)
    upright.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        paper = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(paper, upright).convert("RGB")
    return _in_srgb(upright, profile)


def _with_eight_bits(image: Image.Image) -> Image.Image:
    """Greys of 16 and 32 bits (radiographs) stretched over 8; Pillow would cut them off at 255."""
    if not image.mode.startswith(("I", "F")):
        return image
    grey = image.convert("F")
    extremes = grey.getextrema()
    low, high = float(extremes[0]), float(extremes[1])  # type: ignore[arg-type]  # of one band: two numbers
    scale = 255 / (high - low) if high > low else 0.0
    return grey.point(lambda value: value * scale - low * scale).convert("L")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """By its colour profile where it has one that can be used, else by Pillow's plain rule."""
    if profile and image.mode in {"RGB", "CMYK", "L"}:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            turned = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            turned = None  # the profile is broken or of another kind of colour
        if turned is not None:
            return turned
    return image.convert("RGB")


def _jpeg(image: Image.Image) -> bytes:
    """The file. What the original said of itself (place, device, comment, profile) is not in it."""
    image.info = {}
    file = BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
