"""Files that are named like pictures, and what they really are."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from PIL import Image, ImageCms, ImageFile, JpegImagePlugin

from fm_pipeline.images.pictures import inspect as pictures
from fm_pipeline.images.pictures.inspect import REASONS, Picture, RejectedPicture, inspect, inspect_with_thumbnail
from fm_pipeline.images.pictures.kinds import HEAD_BYTES, may_be_picture
from fm_pipeline.sandbox.clinic.pictures import CORNERS, exif, jpeg, orientation_of, stored, upright
from fm_pipeline_tests.images.pictures.samples import heic, opened, png_chunk, saved, thumbnail

SIZE = (640, 480)


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Colours of the corners, left to right, top to bottom; from the middle of each, where no colour bleeds."""
    width, height = image.size
    found = [image.getpixel((width * across // 4, height * down // 4)) for down in (1, 3) for across in (1, 3)]
    return [colour if isinstance(colour, tuple) else (0,) for colour in found]


def like(found: list[tuple[int, ...]], wanted: tuple[tuple[int, ...], ...] = CORNERS, by: int = 25) -> bool:
    return all(
        abs(a - b) <= by for one, other in zip(found, wanted, strict=True) for a, b in zip(one, other, strict=True)
    )


def png_of(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and ends there."""

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + png_chunk(b"IEND", b"")
    )


# --- accepted as what it is -------------------------------------------------------------------------------------------

ACCEPTED: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "JPEG": (lambda: saved(upright(SIZE), "JPEG"), "image/jpeg", ".jpg"),
    "progressive JPEG": (lambda: saved(upright(SIZE), "JPEG", progressive=True), "image/jpeg", ".jpg"),
    "JPEG in CMYK": (lambda: saved(upright(SIZE).convert("CMYK"), "JPEG"), "image/jpeg", ".jpg"),
    "JPEG with a second frame": (
        lambda: saved(upright(SIZE), "MPO", save_all=True, append_images=[upright((32, 32))]), "image/jpeg", ".jpg",
    ),
    "JPEG and something behind it": (lambda: saved(upright(SIZE), "JPEG") + b"\0" * 500, "image/jpeg", ".jpg"),
    "PNG": (lambda: saved(upright(SIZE), "PNG"), "image/png", ".png"),
    "PNG with alpha": (lambda: saved(upright(SIZE).convert("RGBA"), "PNG"), "image/png", ".png"),
    "PNG with a palette": (lambda: saved(upright(SIZE).quantize(8), "PNG"), "image/png", ".png"),
    "GIF": (lambda: saved(upright(SIZE), "GIF"), "image/gif", ".gif"),
    "TIFF": (lambda: saved(upright(SIZE), "TIFF"), "image/tiff", ".tif"),
    "TIFF in LZW": (lambda: saved(upright(SIZE), "TIFF", compression="tiff_lzw"), "image/tiff", ".tif"),
    "TIFF in CMYK": (lambda: saved(upright(SIZE).convert("CMYK"), "TIFF"), "image/tiff", ".tif"),
    "WEBP": (lambda: saved(upright(SIZE), "WEBP"), "image/webp", ".webp"),
    "BMP": (lambda: saved(upright(SIZE), "BMP"), "image/bmp", ".bmp"),
    "HEIC": (lambda: heic(upright(SIZE)), "image/heic", ".heic"),
    "AVIF": (lambda: saved(upright(SIZE), "AVIF", speed=9), "image/avif", ".avif"),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.hard_case(28)
def test_a_picture_is_what_its_bytes_say_and_its_thumbnail_shows_it(name: str) -> None:
    make, mime_type, suffix = ACCEPTED[name]
    data = make()
    assert inspect(data) == Picture(mime_type, suffix, *SIZE)
    preview = opened(thumbnail(data))
    assert (preview.format, preview.mode, preview.size) == ("JPEG", "RGB", (300, 225))
    assert like(corners(preview))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIC"])
@pytest.mark.hard_case(28)
def test_every_orientation_is_shown_upright_corner_by_corner(kind: str, orientation: int) -> None:
    on_disk = stored(upright(SIZE), orientation)
    if kind == "HEIC":
        data = heic(on_disk, exif=exif(orientation).tobytes())
    else:
        data = saved(on_disk, kind, exif=exif(orientation))
    assert on_disk.size == (SIZE if orientation < 5 else SIZE[::-1])
    looked = inspect_with_thumbnail(data)
    assert not isinstance(looked, RejectedPicture)
    picture, preview = looked
    assert (picture.width, picture.height) == SIZE
    shown = opened(preview)
    assert shown.size == (300, 225)
    assert like(corners(shown))


@pytest.mark.hard_case(28)
def test_an_orientation_that_does_not_exist_changes_nothing() -> None:
    for orientation in (0, 9, 65_535):
        data = saved(upright(SIZE), "JPEG", exif=exif(orientation))
        assert inspect(data) == Picture("image/jpeg", ".jpg", *SIZE)
        assert like(corners(opened(thumbnail(data))))


# --- rejected, with a reason ------------------------------------------------------------------------------------------

S3_ERROR = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
REJECTED: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "empty"),
    "an HTML page": (lambda: b"\r\n<!DOCTYPE html><html><body>Log in</body></html>", "html"),
    "an HTML page with BOM": (lambda: b"\xef\xbb\xbf<HTML><head>", "html"),
    "an XHTML page": (lambda: b'<?xml version="1.0"?><!DOCTYPE html PUBLIC ""><html>', "html"),
    "an S3 error": (lambda: S3_ERROR, "xml"),
    "an S3 error without a declaration": (lambda: b"<Error><Code>NoSuchKey</Code></Error>", "xml"),
    "an SVG drawing": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "xml"),
    "a PDF": (lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "pdf"),
    "a PDF behind something": (lambda: b"\r\n\r\n%PDF-1.4\n", "pdf"),
    "FileMaker's question mark": (lambda: b"?", "text"),
    "FileMaker's refusal": (lambda: b"<No Access>", "text"),
    "an answer in JSON": (lambda: b'{"messages":[{"code":"952"}]}', "text"),
    "a text in UTF-16": (lambda: "Bild: siehe Akte".encode("utf-16"), "text"),
    "a text that begins as a BMP": (lambda: b"BMI measured, see note", "text"),
    "zeros": (lambda: b"\0" * 5_000, "unknown_type"),
    "a ZIP": (lambda: b"PK\x03\x04\x14\0\0\0\x08\0", "unknown_type"),
    "a DICOM file": (lambda: b"\0" * 128 + b"DICM\x02\0", "unknown_type"),
    "a type that nobody expects": (lambda: saved(upright(SIZE), "JPEG2000"), "unknown_type"),
    "four bytes of a JPEG": (lambda: b"\xff\xd8\xff\xe0", "broken"),
    "a JPEG without its end": (lambda: saved(upright(SIZE), "JPEG")[:-2], "broken"),
    "half a GIF": (lambda: half(saved(noise(), "GIF")), "broken"),
    "half a TIFF": (lambda: half(saved(noise(), "TIFF")), "broken"),
    "half a TIFF in LZW": (lambda: half(saved(noise(), "TIFF", compression="tiff_lzw")), "broken"),
    "half a WEBP": (lambda: half(saved(noise(), "WEBP")), "broken"),
    "half a BMP": (lambda: half(saved(noise(), "BMP")), "broken"),
    "half a HEIC": (lambda: half(heic(noise())), "broken"),
    "half a PNG": (lambda: half(saved(noise(), "PNG")), "broken"),
    "a PNG with a wrong checksum": (lambda: saved(noise(), "PNG").replace(b"IDAT", b"IDAt", 1), "broken"),
    "a PNG of nothing": (lambda: png_of(0, 0), "broken"),
}


def noise() -> Image.Image:
    """Something that does not compress, so that half of the file is half of the picture."""
    return Image.effect_noise((320, 240), 60).convert("RGB")


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("name", REJECTED)
@pytest.mark.hard_case(28)
def test_what_is_no_whole_picture_is_rejected_with_its_reason(name: str) -> None:
    make, reason = REJECTED[name]
    data = make()
    assert inspect(data) == RejectedPicture(reason)
    assert inspect_with_thumbnail(data) == RejectedPicture(reason)


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "L"), ("PNG", "1"), ("TIFF", "I;16")])
def test_a_scan_of_a_hundred_megapixels_is_a_picture_and_half_of_it_is_none(
    kind: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # for the test's own steps
    data = saved(large(mode), kind)
    monkeypatch.undo()
    looked = inspect_with_thumbnail(data)
    assert not isinstance(looked, RejectedPicture)
    assert (looked[0].width, looked[0].height) == (9_600, 9_600)
    assert opened(looked[1]).size == (300, 300)
    assert inspect(data[: len(data) * 3 // 4]) == RejectedPicture("broken")


@cache
def large(mode: str) -> Image.Image:
    """92 megapixels that do not compress well."""
    image = Image.effect_noise((1_200, 1_200), 60).resize((9_600, 9_600), Image.Resampling.NEAREST)
    return image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.hard_case(28)
def test_a_jpeg_cut_anywhere_is_found(progressive: bool) -> None:
    """Also when it is decoded at a fraction of its size."""
    data = saved(Image.effect_noise((2_000, 1_500), 40).convert("RGB"), "JPEG", progressive=progressive)
    assert isinstance(inspect(data), Picture)
    for share in (1, 5, 20, 50, 80, 95, 99):
        assert inspect(data[: len(data) * share // 100]) == RejectedPicture("broken")
    assert inspect(data[:-1]) == RejectedPicture("broken")


@pytest.mark.parametrize("name", [*ACCEPTED, *REJECTED])
def test_the_first_bytes_reject_what_the_whole_file_would_be_rejected_for(name: str) -> None:
    """Whole and cut anywhere: the rest is read only where it may matter."""
    data, chance = (ACCEPTED | REJECTED)[name][0](), random.Random(name)  # noqa: S311
    for cut in (len(data), *(chance.randrange(len(data) + 1) for _ in range(5))):
        file = data[:cut]
        head = file[:HEAD_BYTES]
        assert inspect(file if may_be_picture(head) else head) == inspect(file)


def test_every_reason_has_a_sentence_and_is_met() -> None:
    elsewhere = {"raw_photo", "no_thumbnail", "no_memory", "too_many_pixels"}
    assert {reason for _, reason in REJECTED.values()} | elsewhere == REASONS.keys()
    assert all(RejectedPicture(reason).sentence.endswith(".") for reason in REASONS)


def test_the_limits_of_the_library_stay() -> None:
    inspect(jpeg(1))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert Image.MAX_IMAGE_PIXELS == 89_478_485


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 pixels as usual, 40,000 at most, one for each byte; and what is above them is not decoded."""
    for name, value in {"_USUAL": 10_000, "_MOST": 40_000, "_PIXELS_A_BYTE": 1}.items():
        monkeypatch.setattr(pictures, name, value)


TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "a PNG beyond all limits": lambda: saved(noise(), "PNG"),
    "a PNG with too few bytes for its pixels": lambda: saved(Image.new("1", (160, 120)), "PNG"),
    "a JPEG beyond all limits": lambda: saved(noise(), "JPEG"),
    "a GIF beyond the usual limit": lambda: saved(noise().resize((160, 120)), "GIF"),
    "a WEBP beyond the usual limit": lambda: saved(noise().resize((160, 120)), "WEBP", lossless=True),
    "a HEIC beyond the usual limit": lambda: heic(noise().resize((160, 120))),
    "a TIFF beyond all limits": lambda: saved(noise(), "TIFF"),
}


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_picture_beyond_the_limit_of_pixels_is_not_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = TOO_LARGE[name]()

    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    assert inspect(data) == RejectedPicture("too_many_pixels")


@pytest.mark.usefixtures("small_limits")
def test_a_large_picture_with_enough_bytes_for_its_pixels_is_decoded() -> None:
    assert inspect(saved(noise().resize((160, 120)), "PNG")) == Picture("image/png", ".png", 160, 120)


# --- what thumbnails hold ---------------------------------------------------------------------------------------------


def test_a_picture_that_exceeds_the_memory_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise MemoryError

    data = jpeg(1)
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", none_left)
    assert inspect_with_thumbnail(data) == RejectedPicture("no_memory")


def test_a_picture_that_no_thumbnail_can_be_made_of_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("encoder error -2")

    data = jpeg(1)
    monkeypatch.setattr(JpegImagePlugin, "_save", refuse)
    monkeypatch.setitem(Image.SAVE, "JPEG", refuse)
    assert inspect_with_thumbnail(data) == RejectedPicture("no_thumbnail")


def test_a_colour_profile_is_applied_and_a_broken_one_ignored() -> None:
    grey = Image.new("L", (400, 400), 128)
    plain = saved(grey.convert("RGB"), "JPEG")
    broken = saved(grey.convert("RGB"), "JPEG", icc_profile=b"no profile")
    assert opened(thumbnail(broken)).getpixel((9, 9)) == opened(thumbnail(plain)).getpixel((9, 9))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # not for RGB
    assert opened(thumbnail(saved(grey.convert("RGB"), "JPEG", icc_profile=lab))).mode == "RGB"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_picture_with_broken_exif_is_still_a_picture() -> None:
    whole = saved(upright(SIZE), "JPEG", exif=exif(1))
    at = whole.index(b"Exif\0\0") + 6
    for junk in (b"\xff" * 20, b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"):
        data = whole[:at] + junk + whole[at + len(junk) :]
        assert inspect(data) == Picture("image/jpeg", ".jpg", *SIZE)
        assert like(corners(opened(thumbnail(data))))


def test_several_threads_get_the_same_result_as_one() -> None:
    files = [jpeg(number) for number in range(40)] + [make() for make, *_ in ACCEPTED.values()]
    files += [make() for make, _ in REJECTED.values()]
    alone = [inspect_with_thumbnail(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(inspect_with_thumbnail, files)) == alone


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_bytes_make_it_raise() -> None:
    chance = random.Random(28)  # noqa: S311  # any bytes do
    files = [make() for make, *_ in ACCEPTED.values()]
    found = set()
    for number in range(300):
        data = bytearray(files[number % len(files)])
        for _ in range(4):
            data[chance.randrange(min(len(data), 700))] = chance.choice((0, 255, chance.randrange(256)))
        found.add(type(inspect_with_thumbnail(bytes(data))))
    assert found == {tuple, RejectedPicture}


# --- the sandbox's photographs ----------------------------------------------------------------------------------------


def test_the_sandboxs_photographs_are_all_different_whole_and_upright() -> None:
    files = [jpeg(number) for number in range(300)]
    assert len(set(files)) == 300
    assert len({orientation_of(number) for number in range(300)}) == 9
    for data in files[:100]:
        assert inspect(data) == Picture("image/jpeg", ".jpg", 64, 48)
        assert like(corners(opened(thumbnail(data))), by=40)
    assert jpeg(7) == jpeg(7)
    assert inspect(jpeg(7, size=(4_000, 3_000))) == Picture("image/jpeg", ".jpg", 4_000, 3_000)
