"""Thumbnails: what they show, and what they must not hold."""

from __future__ import annotations

import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from fm_pipeline.sandbox.clinic.pictures import exif, stored, upright
from fm_pipeline_tests.images.pictures.samples import grey_tiff, opened, saved, thumbnail
from fm_pipeline_tests.images.pictures.test_inspect import SIZE, corners, like


def telling_jpeg() -> bytes:
    """A JPEG that tells where, when and with what it was taken, and what somebody wrote about it."""
    facts = exif(6)
    facts[ExifTags.Base.Artist] = "CANARY artist"
    facts.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (33.0, 52.0, 10.0)
    return saved(
        stored(upright(SIZE), 6), "JPEG", exif=facts, comment=b"CANARY comment", dpi=(300, 300),
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        xmp=b"<x:xmpmeta>CANARY xmp</x:xmpmeta>",
    )  # fmt: skip


def test_a_thumbnail_has_no_metadata_of_the_original() -> None:
    data = telling_jpeg()
    assert data.count(b"CANARY") == 3
    preview = thumbnail(data)
    assert b"CANARY" not in preview
    image = opened(preview)
    assert not image.getexif()
    assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert like(corners(image))


def test_a_thumbnail_of_a_jpeg_without_a_profile_keeps_no_comment_either() -> None:
    data = saved(upright(SIZE), "JPEG", comment=b"CANARY", exif=exif(1))
    assert b"CANARY" in data
    assert b"CANARY" not in thumbnail(data)
    assert not opened(thumbnail(data)).getexif()


def test_a_thumbnail_of_a_png_has_no_metadata_either() -> None:
    words = PngImagePlugin.PngInfo()
    words.add_text("Patient", "CANARY")
    assert b"CANARY" not in thumbnail(saved(upright(SIZE), "PNG", pnginfo=words))


def test_what_is_transparent_is_white_paper() -> None:
    glass = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    palette = Image.new("P", (400, 400), 0)
    for data in (saved(glass, "PNG"), saved(palette, "GIF", transparency=0), saved(glass.convert("LA"), "PNG")):
        assert opened(thumbnail(data)).getpixel((10, 10)) == (255, 255, 255)


def test_a_small_picture_is_not_enlarged_and_a_long_one_stays_one() -> None:
    assert opened(thumbnail(saved(upright((20, 10)), "PNG"))).size == (20, 10)
    assert opened(thumbnail(saved(Image.new("L", (9_000, 3)), "PNG"))).size == (300, 1)


def test_greys_of_16_bits_are_stretched_not_cut_off() -> None:
    radiograph = Image.new("I;16", (400, 200), 1_000)
    radiograph.paste(30_000, (200, 0, 400, 200))
    for kind in ("PNG", "TIFF"):
        shown = opened(thumbnail(saved(radiograph, kind)))
        assert corners(shown)[0] == (0, 0, 0)
        assert corners(shown)[1] == (255, 255, 255)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_a_few_bright_or_dark_pixels_do_not_blacken_a_radiograph(mode: str) -> None:
    radiograph = Image.linear_gradient("L").resize((400, 400)).convert("F").point(lambda value: value * 16 + 0)
    radiograph.putpixel((3, 3), 65_000)
    shown = opened(thumbnail(saved(radiograph.convert("I").convert(mode), "TIFF")))
    values = [int(each[0]) for each in corners(shown)]
    assert values[0] < 80
    assert values[2] > 170


def test_a_tiff_whose_zero_is_white_is_no_negative() -> None:
    dark_left = Image.new("I", (400, 200), 30_000)
    dark_left.paste(1_000, (200, 0, 400, 200))
    data = saved(dark_left.convert("I;16"), "TIFF", tiffinfo={262: 0})
    assert opened(data).tag_v2[262] == 0  # type: ignore[attr-defined]  # of TIFF
    shown = opened(thumbnail(data))
    assert corners(shown)[0] == (0, 0, 0)
    assert corners(shown)[1] == (255, 255, 255)


@pytest.mark.parametrize("bits", [12, 16, 32])
@pytest.mark.parametrize("order", ["<", ">"])
def test_greys_of_either_byte_order_are_shown_as_they_are_meant(order: str, bits: int) -> None:
    black, white = (0, 0, 0), (255, 255, 255)
    from_black = opened(thumbnail(grey_tiff(order, bits, zero_is_white=False)))
    from_white = opened(thumbnail(grey_tiff(order, bits, zero_is_white=True)))
    assert corners(from_black) == [black, white, black, white]
    assert corners(from_white) == [white, black, white, black]


def test_values_that_are_no_numbers_are_shown_as_dark() -> None:
    strange = Image.new("F", (40, 40), 5.0)
    strange.putpixel((1, 1), float("nan"))
    strange.putpixel((2, 2), float("inf"))
    assert opened(thumbnail(saved(strange, "TIFF"))).size == (40, 40)
