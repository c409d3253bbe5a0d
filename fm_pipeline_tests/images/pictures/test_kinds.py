"""Raw photographs, previews in front, AVIF: a container's first picture is not always the picture."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from fm_pipeline.images.pictures.inspect import Picture, RejectedPicture, inspect
from fm_pipeline.sandbox.clinic.pictures import upright
from fm_pipeline_tests.images.pictures.samples import heic, opened, saved, thumbnail, tiff_with
from fm_pipeline_tests.images.pictures.test_inspect import corners, like

PREVIEW, MAIN = (160, 120), (640, 480)


def raw_photo(*, dng: bool) -> bytes:
    """A preview in front, and a tag that leads to the picture itself, which only a raw converter reads."""
    entries = [(254, 4, 1, struct.pack("<L", 1)), (330, 4, 1, struct.pack("<L", 8))]
    return tiff_with(*entries, *([(50706, 1, 4, b"\1\4\0\0")] if dng else []), image=upright(PREVIEW))


@pytest.mark.parametrize(
    "data",
    [
        raw_photo(dng=True),
        raw_photo(dng=False),
        tiff_with((262, 3, 1, struct.pack("<H", 32803)), image=Image.new("L", MAIN)),
        tiff_with((50706, 1, 4, b"\1\4\0\0"), image=upright(MAIN)),
        b"II*\0\x10\0\0\0CR\2\0" + bytes(200),
        b"IIU\0\x18\0\0\0" + bytes(200),
        b"IIRO\x08\0\0\0" + bytes(200),
        b"FUJIFILMCCD-RAW 0201" + bytes(200),
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(200),
        b"II\x1a\0\0\0HEAPCCDR" + bytes(200),
    ],
    ids=["DNG", "NEF", "sensor data", "DNG without preview", "CR2", "RW2", "ORF", "RAF", "CR3", "CRW"],
)
def test_a_raw_photograph_is_listed_and_not_taken_for_its_preview(data: bytes) -> None:
    assert inspect(data) == RejectedPicture("raw_photo")


def test_of_a_tiff_that_begins_with_a_preview_the_picture_behind_it_counts() -> None:
    preview = upright(PREVIEW).convert("L").convert("RGB")
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    data = saved(preview, "TIFF", save_all=True, append_images=[upright(MAIN)], tiffinfo={254: 1})
    assert opened(data).tag_v2[254] == 1  # type: ignore[attr-defined]  # of TIFF
    patched = _second_frame_is_the_picture(data)
    assert inspect(patched) == Picture("image/tiff", ".tif", *MAIN)
    assert like(corners(opened(thumbnail(patched))))


def _second_frame_is_the_picture(data: bytes) -> bytes:
    """Pillow writes the same tags into every frame: the second frame's NewSubfileType becomes 0."""
    first = struct.pack("<HHLL", 254, 4, 1, 1)
    if first not in data:
        first = struct.pack("<HHLHH", 254, 3, 1, 1, 0)
    at = data.rindex(first)
    return data if at == data.index(first) else data[: at + 8] + bytes(4) + data[at + 12 :]


def test_of_several_pages_the_first_one_counts() -> None:
    data = saved(upright(MAIN), "TIFF", save_all=True, append_images=[Image.new("RGB", (50, 50))])
    assert inspect(data) == Picture("image/tiff", ".tif", *MAIN)


@pytest.mark.parametrize("brands", [b"avif\0\0\0\0avifmif1miafMA1A", b"mif1\0\0\0\0mif1avifmiafMA1A"])
def test_avif_is_avif_whatever_its_major_brand_is(brands: bytes) -> None:
    data = saved(upright(MAIN), "AVIF", speed=9)
    box = struct.pack(">L", 8 + len(brands)) + b"ftyp" + brands
    assert len(box) == int.from_bytes(data[:4], "big")  # else offsets inside the file would be wrong
    data = box + data[len(box) :]
    assert inspect(data) == Picture("image/avif", ".avif", *MAIN)
    assert like(corners(opened(thumbnail(data))))


def test_heic_of_a_general_brand_is_heic() -> None:
    data = heic(upright(MAIN))
    length = int.from_bytes(data[:4], "big")
    general = data[:8] + b"mif1" + data[12:length].replace(b"mif1", b"heic") + data[length:]
    assert inspect(general) == Picture("image/heic", ".heic", *MAIN)
