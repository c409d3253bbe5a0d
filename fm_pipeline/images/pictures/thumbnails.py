"""Thumbnails of decoded pictures: small JPEGs, upright, in sRGB, without metadata of the original."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from fm_pipeline.images.pictures.metadata import TURNS

THUMBNAIL_PIXELS: Final = 300  # the longest side
THUMBNAIL_MIME_TYPE: Final = "image/jpeg"
_QUALITY = 80  # about 10 kB
_DARKEST, _BRIGHTEST = 0.5, 99.5  # per cent of the pixels between which greys are stretched
_ENOUGH = 4 * THUMBNAIL_PIXELS  # pixels of the longer side, from which greys are stretched
_ZERO_IS_WHITE, _PHOTOMETRIC, _SAMPLE_FORMAT = 0, 262, 339  # TIFF 6.0
_DEFAULTS = {_SAMPLE_FORMAT: 1}  # unsigned


def thumbnail_of(image: Image.Image, orientation: int) -> bytes:
    """Return the thumbnail of a picture, never enlarged.

    Args:
        image: with its pixels loaded.
        orientation: EXIF's, 1 to 8.

    Raises:
        Exception: of the library, for pixels that it can neither convert nor write.
    """
    try:
        small = _in_web_colours(image)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # a profile or a transparency that the library refuses: colours as they are
        bare = image.copy()
        bare.info = {}
        small = _small(bare.convert("RGB"))
    if orientation in TURNS:
        small = small.transpose(TURNS[orientation])
    small.info = {}
    file = BytesIO()
    small.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _small(image: Image.Image) -> Image.Image:
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    return image


def _in_web_colours(image: Image.Image) -> Image.Image:
    """Small, in RGB of the web, on white paper where it is transparent."""
    image = _with_eight_bits(image)
    profile = image.info.get("icc_profile")
    if image.mode in {"1", "P"} or "transparency" in image.info:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small = _small(image.copy())
    if small.has_transparency_data:
        small = small.convert("RGBA")
        paper = Image.new("RGBA", small.size, "white")
        small = Image.alpha_composite(paper, small).convert("RGB")
    return _in_srgb(small, profile)


def _with_eight_bits(image: Image.Image) -> Image.Image:
    """Greys of more than 8 bits (radiographs) stretched over 8; Pillow would cut them off at 255.

    A few very bright or dark pixels (a marker, a dead pixel of the sensor) do not decide how the others are shown.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    step = max(1, max(image.size) // _ENOUGH)
    grey = _samples(image)[::step, ::step].astype(np.float64)
    known = grey[np.isfinite(grey)]
    if not known.size:
        return Image.new("L", (grey.shape[1], grey.shape[0]))
    low, high = (float(each) for each in np.percentile(known, (_DARKEST, _BRIGHTEST)))
    if high <= low:  # nearly all pixels are alike: the few others are the picture
        low, high = float(known.min()), float(known.max())
    scale = 255 / (high - low) if high > low else 0.0
    shown = np.clip((np.nan_to_num(grey, nan=low, posinf=high, neginf=low) - low) * scale, 0, 255)
    if _tiff_tag(image, _PHOTOMETRIC) == _ZERO_IS_WHITE:  # Pillow turns it round for 8 bits and less only
        shown = 255 - shown
    return Image.fromarray(shown.astype(np.uint8))


def _samples(image: Image.Image) -> np.ndarray:
    """The samples; Pillow keeps those of 32 bits as signed ones."""
    samples = np.asarray(image)
    unsigned = image.mode == "I" and _tiff_tag(image, _SAMPLE_FORMAT) in {1, (1,)}
    return samples.view(np.uint32) if unsigned else samples


def _tiff_tag(image: Image.Image, tag: int) -> object:
    """The value of a TIFF's tag; None without it, and for other formats."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(tag, _DEFAULTS.get(tag) if tags else None)


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """By its colour profile where it has one that can be used, else by Pillow's plain rule."""
    if profile and image.mode in {"RGB", "CMYK", "L"}:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            turned = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except Exception:  # noqa: BLE001  # the profile is broken or of another kind of colour
            turned = None
        if turned is not None:
            return turned
    return image.convert("RGB")
