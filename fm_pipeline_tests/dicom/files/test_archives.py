"""Archives: every file in them is found once, whatever its name and packing, and nothing is passed over silently."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import stat
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fm_pipeline.dicom.paths import printable
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline_tests.support.archives import gzipped, tarred, zipped

IMAGE, OTHER = as_file(image("one")), as_file(image("other"))
FILES = [("CD/IM1", IMAGE), ("CD/IM2.dcm", OTHER), ("CD/readme.txt", b"A text. " * 20)]
TO_IMPORT = ("", "")
FOUND = {
    "!/CD/IM1": TO_IMPORT,
    "!/CD/IM2.dcm": TO_IMPORT,
    "!/CD/readme.txt": ("skipped", "text"),
    "": ("skipped", "archive_opened"),
}


Look = Callable[..., dict[str, tuple[str, str]]]


def without_ustar(tar: bytes) -> bytes:
    """A tar as it was before POSIX: no mark, and nothing behind it."""
    content = bytearray(tar)
    for at in range(0, len(tar), 512):
        if content[at + 257 : at + 262] == b"ustar":
            content[at + 257 : at + 512] = bytes(255)
            content[at + 148 : at + 156] = b" " * 8
            content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + 512])
    return bytes(content)


PACKED = {
    "stored": zipped(FILES, zipfile.ZIP_STORED),
    "deflated": zipped(FILES, zipfile.ZIP_DEFLATED),
    "bzip2 in a ZIP": zipped(FILES, zipfile.ZIP_BZIP2),
    "LZMA in a ZIP": zipped(FILES, zipfile.ZIP_LZMA),
    "behind a program": b"MZ" + b"\x90\xfe" * 700 + zipped(FILES),
    "behind a program, stored": b"MZ" + b"\x90\xfe" * 700 + zipped(FILES, zipfile.ZIP_STORED),
    "behind a text": b"#!/bin/sh\nunzip $0\n" * 9 + zipped(FILES),
    "with a comment": zipped(FILES)[:-2] + struct.pack("<H", 9) + b"a comment",
    "tar, PAX": tarred(FILES, tarfile.PAX_FORMAT),
    "tar, GNU": tarred(FILES, tarfile.GNU_FORMAT),
    "tar, ustar": tarred(FILES, tarfile.USTAR_FORMAT),
    "tar of 1979": without_ustar(tarred(FILES, tarfile.USTAR_FORMAT)),
    "tar behind a tar": tarred(FILES[:1]) + tarred(FILES[1:]),
    "tar.gz": gzipped(tarred(FILES)),
    "tar.bz2": bz2.compress(tarred(FILES)),
    "tar.xz": lzma.compress(tarred(FILES)),
    "tar.gz in two streams": gzipped(tarred(FILES)[:5_000]) + gzipped(tarred(FILES)[5_000:]),
    "tar.gz with filling": gzipped(tarred(FILES)) + b"\0" * 700,
    "tar.gz with something behind it": gzipped(tarred(FILES)) + b"signature",
}


@pytest.mark.parametrize("packed", PACKED)
def test_each_file_in_an_archive_is_found_with_its_own_end_however_it_is_packed(looked: Look, packed: str) -> None:
    assert looked(PACKED[packed]) == FOUND


def test_a_zip_that_was_written_to_a_pipe_has_its_sizes_in_its_directory(looked: Look) -> None:
    class Pipe(io.RawIOBase):
        content = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object, /) -> int:
            self.content += bytes(data)  # type: ignore[call-overload]
            return len(data)  # type: ignore[arg-type]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES:
            archive.writestr(name, data)
    assert looked(pipe.content) == FOUND


@pytest.mark.parametrize("before", [b"", b"MZ" + b"\x90\xfe" * 700])
def test_a_zip64_is_read_as_any_other_also_behind_other_bytes(
    looked: Look, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    content = zipped(FILES)
    assert b"PK\x06\x06" in content
    assert looked(before + content) == FOUND


@pytest.mark.parametrize(
    ("name", "inner"),
    [("IM1.dcm.gz", "IM1.dcm"), ("IM1.DCM.GZ", "IM1.DCM"), ("IM1", "IM1"), (".gz", ".gz"), ("scan.tgz", "scan")],
)
def test_a_single_compressed_file_has_the_name_that_it_is_unpacked_to(looked: Look, name: str, inner: str) -> None:
    assert looked(gzipped(IMAGE), name) == {f"!/{inner}": TO_IMPORT, "": ("skipped", "archive_opened")}


def test_bzip2_and_xz_files_are_unpacked_too(looked: Look) -> None:
    assert looked(bz2.compress(IMAGE), "a.bz2")["!/a"] == TO_IMPORT
    assert looked(lzma.compress(IMAGE), "b.xz")["!/b"] == TO_IMPORT


NAMES = [
    *("../outside.dcm", "/etc/passwd", "C:\\a\\b.dcm", "a//b", "per%cent", "new\nline", "caf\u00e9", "cafe\u0301"),
    "x" * 300,
]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_names_stay_what_they_are_and_are_never_paths(looked: Look, tmp_path: Path, pack: Callable[..., bytes]) -> None:
    files = [(name, as_file(image(name))) for name in NAMES]
    before = set(tmp_path.rglob("*"))
    found = looked(pack(files))
    assert found == {f"!/{printable(name)}": TO_IMPORT for name in NAMES} | {"": ("skipped", "archive_opened")}
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "hospital", tmp_path / "hospital" / "archive"}


def test_bytes_of_a_name_that_are_no_utf_8_are_kept(looked: Look) -> None:
    in_zip = zipped([("lat1n.dcm", IMAGE)]).replace(b"lat1n", b"lat\xe9n")
    in_tar = tarred([(os.fsdecode(b"lat\xe9n.dcm"), IMAGE)], tarfile.GNU_FORMAT)
    for content in (in_zip, in_tar):
        assert looked(content) == {"!/lat%E9n.dcm": TO_IMPORT, "": ("skipped", "archive_opened")}


def test_a_name_that_says_utf_8_and_is_none_spoils_no_other_file(looked: Look) -> None:
    content = zipped([("caf\u00e9", IMAGE), ("other", OTHER)]).replace("caf\u00e9".encode(), b"caf\xff\xfe")
    assert looked(content) == {"!/caf%FF%FE": TO_IMPORT, "!/other": TO_IMPORT, "": ("skipped", "archive_opened")}


def test_a_name_in_an_older_encoding_with_one_in_unicode_beside_it_is_the_one_in_unicode(looked: Look) -> None:
    raw, unicode = b"caf\x82.dcm", "caf\u00e9.dcm".encode()
    info = zipfile.ZipInfo("cafx.dcm")
    info.extra = struct.pack("<HHBL", 0x7075, 5 + len(unicode), 1, zlib.crc32(raw)) + unicode
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(info, IMAGE)
    renamed = content.getvalue().replace(b"cafx.dcm", raw)
    assert looked(renamed) == {"!/caf\u00e9.dcm": TO_IMPORT, "": ("skipped", "archive_opened")}


def test_files_of_one_name_in_one_archive_are_told_apart(looked: Look) -> None:
    files = [("a", IMAGE), ("a", OTHER), ("a [2]", as_file(image("third"))), ("a", as_file(image("fourth")))]
    found = looked(zipped(files))
    assert len(found) == 5
    assert {"!/a", "!/a [2]"} < set(found)


def test_folders_links_and_devices_in_archives_are_not_files(looked: Look) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, kind in (
            ("folder", tarfile.DIRTYPE),
            ("link", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("pipe", tarfile.FIFOTYPE),
            ("disk", tarfile.BLKTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "IM1"
            archive.addfile(info)
        info = tarfile.TarInfo("IM1")
        info.size = len(IMAGE)
        archive.addfile(info, io.BytesIO(IMAGE))
    assert looked(content.getvalue()) == {
        "!/link": ("skipped", "link_in_archive"),
        "!/hard": ("skipped", "link_in_archive"),
        "!/pipe": ("skipped", "fifo"),
        "!/disk": ("skipped", "device"),
        "!/IM1": TO_IMPORT,
        "": ("skipped", "archive_opened"),
    }


def test_folders_and_links_of_a_zip_are_known_by_their_attributes(looked: Look) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("folder/", b"")
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "IM1")
        archive.writestr("IM1", IMAGE)
    assert set(looked(content.getvalue())) == {"!/link", "!/IM1", ""}


def test_a_file_with_holes_is_read_with_its_holes(looked: Look) -> None:
    """GNU tar --sparse, format 1.0: a map in front of the data."""
    holed = IMAGE.ljust(8_192, b"\0") + OTHER[:0] + b"\0" * 4_096
    stored = f"1\n0\n{len(IMAGE)}\n".encode().ljust(512, b"\0") + IMAGE
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("GNUSparseFile.0/IM1")
        info.size = len(stored)
        info.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": "IM1",
            "GNU.sparse.realsize": str(len(holed)),
        }
        archive.addfile(info, io.BytesIO(stored))
    assert looked(content.getvalue())["!/IM1"] == TO_IMPORT


@pytest.mark.parametrize(
    "options", [["--format=gnu"], ["--format=oldgnu"], ["--format=posix"]], ids=lambda each: each[0]
)
def test_what_gnu_tar_writes_is_read_as_gnu_tar_reads_it(looked: Look, tmp_path: Path, options: list[str]) -> None:
    """Files with holes; a list of each folder; times in the header where POSIX has the beginning of the name."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "IM1").write_bytes(IMAGE)
    holed = image("with holes")
    holed.PixelData = bytes(1 << 20) + b"\1" * 4_096
    content = as_file(holed)
    with (source / "IM2").open("wb") as file:
        file.write(content[:2_000])
        file.seek(len(content) - 4_200)
        file.write(content[-4_200:])
    assert (source / "IM2").read_bytes() == content
    more = [] if "posix" in options[0] else [f"--listed-incremental={tmp_path / 'snapshot'}"]
    tar = tmp_path / "tar"
    command = ["tar", "--sparse", *options, *more, "-cf", str(tar), "-C", str(source), "."]
    subprocess.run(command, check=True)  # noqa: S603
    found = looked(tar.read_bytes())
    assert found == {"!/./IM1": TO_IMPORT, "!/./IM2": TO_IMPORT, "": ("skipped", "archive_opened")}


@pytest.mark.parametrize(
    "head",
    [
        *(b"070701", b"\xc7\x71", b"\x1f\x9d\x90", b"\x5d\0\0\x80", b"LZIP\1", b"MSCF\0", b"7z\xbc\xaf\x27\x1c"),
        *(bytes(32_769) + b"CD001", bytes(32_769) + b"BEA01"),
    ],
    ids=["cpio", "cpio, binary", "compress", "LZMA", "lzip", "cabinet", "7z", "ISO image", "UDF image"],
)
def test_archives_of_other_kinds_are_told_apart_from_what_is_no_archive(looked: Look, head: bytes) -> None:
    assert looked(head + bytes(range(1, 200)) + IMAGE) == {"": ("skipped", "archive_not_opened")}


def test_what_a_system_adds_to_an_archive_is_set_aside_as_on_a_disk(looked: Look) -> None:
    files = [*FILES, ("__MACOSX/CD/._IM1", b"\0\5\x16\7" * 9), ("#recycle/a", IMAGE), ("#recycle/b", IMAGE)]
    assert looked(zipped(files)) == FOUND | {
        "!/__MACOSX/CD/._IM1": ("skipped", "system_file"),
        "!/#recycle": ("skipped", "excluded_folder"),
    }


def test_a_file_in_an_archive_is_complete_whatever_its_name_says(looked: Look) -> None:
    assert looked(zipped([("IM1.dcm.tmp", IMAGE)]))["!/IM1.dcm.tmp"] == TO_IMPORT


DOCUMENTS = {
    "Word": [("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"<w:document/>")],
    "OpenDocument": [("mimetype", b"application/vnd.oasis.opendocument.text"), ("content.xml", b"<x/>")],
    "EPUB": [("mimetype", b"application/epub+zip"), ("META-INF/container.xml", b"<container/>")],
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_document_that_is_a_zip_is_one_document(looked: Look, kind: str) -> None:
    assert looked(zipped(DOCUMENTS[kind])) == {"": ("skipped", "document")}


def test_a_folder_that_is_called_as_in_a_document_makes_no_document(looked: Look) -> None:
    assert looked(zipped([("word/IM1", IMAGE)])) == {"!/word/IM1": TO_IMPORT, "": ("skipped", "archive_opened")}


@pytest.mark.parametrize(
    "files", [[], [("viewer.exe", b"MZ" + bytes(range(200))), ("readme.txt", b"A text.")]], ids=["empty", "a program"]
)
def test_an_archive_without_dicom_is_told_once(looked: Look, files: list[tuple[str, bytes]]) -> None:
    assert looked(zipped(files)) == {"": ("skipped", "archive_without_dicom")}


def test_an_archive_in_an_archive_has_its_own_reason(looked: Look) -> None:
    inner = zipped(FILES)
    assert looked(zipped([("study.zip", inner), ("readme.txt", b"A text.")])) == {
        "!/study.zip": ("skipped", "nested_archive"),
        "": ("skipped", "archive_opened"),
    }
    assert looked(zipped([("a.docx", zipped(DOCUMENTS["Word"]))])) == {"": ("skipped", "archive_without_dicom")}
