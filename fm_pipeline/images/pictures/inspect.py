"""Determine what a file really is, whatever its name: a complete picture with its type and size, or why it is none.

The order follows from the limits of the libraries: the first bytes, then the header with an explicit list of formats,
then every pixel, then gaps that decoders do not detect. `Image.verify` is not enough: it accepts half a JPEG. A flipped
bit inside a JPEG is not detected by any decoder; hashes do that.
https://pillow.readthedocs.io/en/stable/reference/Image.html

Every function is thread-safe. If a file has several frames, the first one counts, unless it is marked as a preview.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from typing import Final, NamedTuple

import pillow_heif
from PIL import Image, TiffImagePlugin

from fm_pipeline.images.pictures.gaps import is_incomplete
from fm_pipeline.images.pictures.kinds import kind_of, main_frame
from fm_pipeline.images.pictures.metadata import ON_ITS_SIDE, orientation, without_metadata
from fm_pipeline.images.pictures.thumbnails import THUMBNAIL_PIXELS, thumbnail_of

_DRAFT = THUMBNAIL_PIXELS  # a JPEG is decoded at a fraction of its size, neither side below this
_ENOUGH = 4 * THUMBNAIL_PIXELS  # pixels of the longer side, to which a large picture is reduced before its thumbnail
_USUAL = 89_478_485  # pixels: Pillow's own limit, from which it warns; 350 MB as Pillow keeps them
_MOST = 250_000_000  # pixels of a panorama or a scan: 1 GB or a little more, and never two of them at a time
_PIXELS_A_BYTE = 100  # of a large file; a photograph has 20 at most
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
    "AVIF": ("image/avif", ".avif"),
}

REASONS: Final = {
    "empty": "The file has no bytes.",
    "html": "It is a web page: most likely what a server answered instead of the picture.",
    "xml": "It is XML: most likely a storage server's error message instead of the picture.",
    "pdf": "It is a PDF document.",
    "text": "It is text.",
    "unknown_type": "It is no picture of a type that is known here.",
    "raw_photo": "It is a camera's raw photograph, which no browser shows: export it as JPEG.",
    "too_many_pixels": f"It claims to have more than {_MOST:,} pixels, or more than {_USUAL:,} and too few bytes"
    " for them, so it was not decoded.",
    "broken": "It begins as a picture and is cut, broken, or of a variant that cannot be decoded.",
    "no_thumbnail": "It is a whole picture, but no thumbnail can be made of it.",
    "no_memory": "There was not enough memory to decode it. A later run tries again.",
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
class RejectedPicture:
    """A file that is not a picture, or not a complete one. `reason` is a key of `REASONS`."""

    reason: str

    @property
    def sentence(self) -> str:
        """The reason for a reader."""
        return REASONS[self.reason]


class _Decoded(NamedTuple):
    picture: Picture
    image: Image.Image  # of a large JPEG at a fraction of its size
    orientation: int


def inspect(data: bytes) -> Picture | RejectedPicture:
    """Decode every pixel of a file.

    Args:
        data: the whole file.

    Returns:
        The picture, or why the file is none. No input raises.
    """
    looked = inspect_with_thumbnail(data)
    return looked if isinstance(looked, RejectedPicture) else looked[0]


def inspect_with_thumbnail(data: bytes) -> tuple[Picture, bytes] | RejectedPicture:
    """Decode every pixel of a file, and make its thumbnail.

    Returns:
        The picture and its thumbnail: a JPEG, longest side 300 pixels (never enlarged), upright, sRGB, without any
        metadata. Or why the file is not a picture. No input raises.
    """
    try:
        decoded = _decoded(data)
        if isinstance(decoded, RejectedPicture):
            return decoded
        return decoded.picture, thumbnail_of(decoded.image, decoded.orientation)
    except MemoryError:
        return RejectedPicture("no_memory")
    except Exception:  # noqa: BLE001  # whatever a library raises, it concerns this file alone
        return RejectedPicture("no_thumbnail")


def _too_many(pixels: int, kind: str, size: int) -> bool:
    """Whether the header states more pixels than are decoded, or more than the file can contain."""
    return pixels > _USUAL and (kind not in _LARGE_KINDS or pixels > min(_MOST, size * _PIXELS_A_BYTE))


@contextmanager
def _large() -> Iterator[None]:
    """Decode one large picture at a time, with Pillow's own limit raised, because its TIFF reader checks it again."""
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


def _decoded(data: bytes) -> _Decoded | RejectedPicture:
    """Decode a picture. Metadata that a library refuses does not make a picture invalid."""
    kind = kind_of(data)
    if kind in REASONS:
        return RejectedPicture(kind)
    if kind == "HEIF":
        _know_heif()
    if kind == "TIFF":
        _know_deep_greys()
    frame = main_frame(data) if kind == "TIFF" else 0
    if frame is None:
        return RejectedPicture("raw_photo")
    decoded = _decode(data, data, kind, frame)
    if decoded == RejectedPicture("broken") and (bare := without_metadata(data, kind)):
        decoded = _decode(bare, data, kind, frame)
    if isinstance(decoded, _Decoded) and is_incomplete(data, kind, decoded.picture.width * decoded.picture.height):
        return RejectedPicture("broken")
    return decoded


def _decode(data: bytes, whole: bytes, kind: str, frame: int) -> _Decoded | RejectedPicture:
    """Open and load.

    Args:
        data: what is decoded.
        whole: the file with its metadata.
        frame: which picture of a TIFF.
    """
    try:
        image = _opened(data, kind)
        if frame:
            image.seek(frame)
        width, height = image.size
        if _too_many(width * height, kind, len(data)):
            return RejectedPicture("too_many_pixels")
        image.draft(None, (_DRAFT, _DRAFT))  # a no-op but for JPEG; every byte is still read, so a cut is still found
        # Also a JPEG at a fraction: of a progressive one all coefficients are kept, 3 to 6 bytes a pixel.
        with _large() if width * height > _USUAL else nullcontext():
            image.load()
            small = _smaller(image)
        lies = orientation(image, whole, kind)  # not before: to read the EXIF of a PNG, Pillow loads it
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return RejectedPicture("too_many_pixels")
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # decoders raise nearly anything on bytes that are not what they expect
        return RejectedPicture("broken")
    if lies in ON_ITS_SIDE:
        width, height = height, width
    mime_type, suffix = TYPES[image.format or kind]
    return _Decoded(Picture(mime_type, suffix, width, height), small, lies)


def _smaller(image: Image.Image) -> Image.Image:
    """Reduce a large picture for the thumbnail; otherwise each step would copy all of it."""
    if image.width * image.height <= _USUAL:
        return image
    factor = max(1, max(image.size) // _ENOUGH)
    if image.mode in {"L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"}:
        return image.reduce(factor)
    return image.resize((max(1, image.width // factor), max(1, image.height // factor)), Image.Resampling.NEAREST)


@functools.cache
def _know_heif() -> None:
    """Make HEIC known to Pillow; once more does no harm."""
    pillow_heif.register_heif_opener()


@functools.cache
def _know_deep_greys() -> None:
    """Let Pillow read greys of more than 8 bits that count from white, or come in the other byte order, as it reads the
    others; `thumbnails` turns white round. (TIFF 6.0: samples of 12 bits are packed alike in both orders.)
    """
    known = TiffImagePlugin.OPEN_INFO
    known.setdefault((b"MM", 1, (1,), 1, (12,), ()), ("I;16", "I;12"))
    known.setdefault((b"MM", 1, (1,), 1, (32,), ()), ("I", "I;32B"))
    for (order, photometric, *rest), modes in list(known.items()):
        if photometric == 1 and modes[0].startswith(("I", "F")):
            known.setdefault((order, 0, *rest), modes)  # type: ignore[arg-type]  # of the same form
