"""A copy that broke off may have its whole length. Decoders of compressed pictures show grey for the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from PIL import Image

from fm_pipeline.images.pictures.inspect import Picture, RejectedPicture, inspect
from fm_pipeline_tests.images.pictures.samples import heic, saved, webp_chunk, webp_with

SIZE = (800, 600)
KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG": lambda image: saved(image, "JPEG"),
    "progressive JPEG": lambda image: saved(image, "JPEG", progressive=True),
    "WEBP": lambda image: saved(image, "WEBP"),
    "WEBP without loss": lambda image: saved(image, "WEBP", lossless=True),
    "WEBP with metadata": lambda image: webp_with(webp_chunk(b"EXIF", b"II*\0"), image=image),
    "HEIC": heic,
    "AVIF": lambda image: saved(image, "AVIF", speed=9),
    "PNG": lambda image: saved(image, "PNG"),
    "GIF": lambda image: saved(image, "GIF"),
    "TIFF in LZW": lambda image: saved(image, "TIFF", compression="tiff_lzw"),
}


@cache
def whole(kind: str) -> bytes:
    return KINDS[kind](Image.effect_noise(SIZE, 60).convert("RGB"))


@pytest.mark.parametrize("filler", [b"\0", b"\xff"], ids=["zeros", "erased flash"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_whose_rest_was_never_written_is_broken(kind: str, filler: bytes) -> None:
    data = whole(kind)
    assert isinstance(inspect(data), Picture)
    for share in (10, 50, 99):
        kept = len(data) * share // 100
        assert inspect(data[:kept] + filler * (len(data) - kept)) == RejectedPicture("broken")


@pytest.mark.parametrize("kind", ["WEBP", "WEBP without loss", "HEIC", "AVIF", "PNG"])
def test_a_block_that_is_missing_in_the_middle_is_found(kind: str) -> None:
    data = whole(kind)
    middle = len(data) // 2
    assert inspect(data[:middle] + bytes(4_096) + data[middle + 4_096 :]) == RejectedPicture("broken")


@pytest.mark.parametrize("colour", ["white", "black"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_picture_is_whole(kind: str, colour: str) -> None:
    """Its compressed data has the longest runs of zeros."""
    size = (1_600, 1_200)
    looked = inspect(KINDS[kind](Image.new("RGB", size, colour)))
    assert isinstance(looked, Picture)
    assert (looked.width, looked.height) == size
