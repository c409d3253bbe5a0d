"""No metadata makes a whole picture a broken one, or stops a run."""

from __future__ import annotations

import struct
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fm_pipeline.images.pictures.inspect import Picture, RejectedPicture, inspect, inspect_with_thumbnail
from fm_pipeline.sandbox.clinic.pictures import stored, upright
from fm_pipeline_tests.images.pictures.samples import (
    ANY,
    SMALL,
    exif_block,
    jpeg_with,
    opened,
    png_chunk,
    png_with,
    saved,
    segment,
    thumbnail,
    tiff_with,
    turned,
    webp_chunk,
    webp_with,
)
from fm_pipeline_tests.images.pictures.test_inspect import corners, like

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # the library's words on what it passes over

# A tag of a wrong type, beside an orientation that is right.
MALFORMED = {
    "a text as a fraction": (0x13B, 5, 1, struct.pack("<LL", 300, 1)),
    "a number as text": (0x103, 2, 4, b"six\0"),
    "a size below zero": (0x101, 9, 1, struct.pack("<l", -7)),
    "a date as bytes of another kind": (0x132, 11, 1, b"\x7f\x80\0\0"),
    "a pointer to nowhere": (0x8769, 4, 1, struct.pack("<L", 0xFFFFFF)),
    "more values than there are bytes": (0x9286, 7, 70_000, b"abcde"),
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_with_a_malformed_tag_is_whole_and_upright(kind: str, name: str) -> None:
    block = exif_block(MALFORMED[name], turned(6))
    on_disk = stored(upright(SMALL), 6)
    data = {
        "JPEG": lambda: jpeg_with(segment(0xE1, b"Exif\0\0" + block), image=on_disk),
        "PNG": lambda: png_with(png_chunk(b"eXIf", block), image=on_disk),
        "WEBP": lambda: webp_with(webp_chunk(b"EXIF", block), image=on_disk),
    }[kind]()
    looked = inspect_with_thumbnail(data)
    assert not isinstance(looked, RejectedPicture)
    assert (looked[0].width, looked[0].height) == SMALL
    assert like(corners(opened(looked[1])), by=40)


@pytest.mark.parametrize("entry", [(0x2BC, 3, 1, b"xmp"), (0x112, 2, 4, b"six\0"), (0x8825, 9, 1, b"\xff\xff\xff\xf0")])
def test_a_tiff_with_a_malformed_tag_is_whole(entry: tuple[int, int, int, bytes]) -> None:
    data = tiff_with(entry, *([turned(6)] if entry[0] != 0x112 else []), image=upright(SMALL))
    looked = inspect(data)
    assert isinstance(looked, Picture)
    assert {looked.width, looked.height} == set(SMALL)


def test_a_picture_whose_transparency_the_library_cannot_apply_has_a_thumbnail() -> None:
    grey = saved(Image.new("I;16", (40, 30), 30_000), "PNG")
    data = grey[:33] + png_chunk(b"tRNS", struct.pack(">H", 30_000)) + grey[33:]
    assert inspect(data) == Picture("image/png", ".png", 40, 30)
    assert opened(thumbnail(data)).size == (40, 30)


@pytest.mark.parametrize("kind", ANY)
@given(chance=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_a_whole_picture_with_any_metadata_is_a_picture(kind: str, chance: Random) -> None:
    looked = inspect_with_thumbnail(ANY[kind](chance))
    assert not isinstance(looked, RejectedPicture)
    assert {looked[0].width, looked[0].height} == set(SMALL)
    assert set(opened(looked[1]).size) == set(SMALL)
