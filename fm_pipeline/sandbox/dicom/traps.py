"""A tree of special cases, one of everything that a hospital's disk can hold, each with its expected outcome."""

from __future__ import annotations

import gzip
import io
import os
import socket
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from fm_pipeline.dicom.model import Outcome
from fm_pipeline.sandbox.dicom.instances import (
    OTHER_KINDS,
    as_file,
    directory_object,
    hanging_protocol,
    headerless,
    image,
    without_pixels,
)

UNKNOWN_TRANSFER_SYNTAX = "1.2.826.0.1.3680043.8.498.99"
SPARSE_BYTES = 1 << 30
_LONGEST_PATH = 4_096
_ARCHIVES = (".zip!", ".tar!", ".gz!")


@dataclass(frozen=True)
class Trap:
    """One entry of the tree.

    Attributes:
        path: absolute, decoded with `os.fsdecode`; for a file in an archive, with `!/` before its name.
        outcome: expected with default settings.
        reason: an id of `fm_pipeline.dicom.reasons`; empty if it is imported.
        twin: of all traps with the same twin, the first is imported and the others have this outcome.
    """

    path: str
    outcome: Outcome
    reason: str = ""
    twin: str = ""

    @property
    def on_disk(self) -> bool:
        """Whether a scan finds it. A file in an archive is found when the archive is opened."""
        return not os.path.dirname(self.path).endswith(_ARCHIVES)


def make_traps(folder: Path, *, sparse_bytes: int = SPARSE_BYTES) -> list[Trap]:
    """Fill a folder, and return every entry in it that is not a directory.

    Entries that this system cannot create (a socket with too long a path, a name that the disk refuses) are left out.
    An unreadable file is created only if permissions apply to this user.
    """
    traps: list[Trap] = []
    root = os.fsencode(folder)
    for make in (_contents, _kinds, _identifiers, _not_dicom, _names, _special):
        for name, content, outcome, reason, twin in make():
            path = root + b"/" + make.__name__.strip("_").encode() + b"/" + name
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                if callable(content):
                    content(os.fsdecode(path), folder)
                else:
                    Path(os.fsdecode(path)).write_bytes(content)
            except OSError:
                continue
            traps.append(Trap(os.fsdecode(path), outcome, reason, twin))
    for archive, members in _in_archives():
        traps += [Trap(f"{folder / archive}!/{member}", Outcome.IMPORTED) for member in members]
    zeros = folder / "not_dicom" / "sparse.dcm"
    with zeros.open("wb") as file:
        file.truncate(sparse_bytes)
    traps.append(Trap(str(zeros), Outcome.SKIPPED, "zeros"))
    if os.geteuid() != 0:
        secret = folder / "special" / "unreadable.dcm"
        secret.write_bytes(as_file(image("unreadable")))
        secret.chmod(0)
        traps.append(Trap(str(secret), Outcome.FAILED, "permission"))
    traps.append(_beyond_the_longest_path(folder / "names"))
    return traps


_Content = bytes | Callable[[str, Path], None]
_Entry = tuple[bytes, _Content, Outcome, str, str]


def _stored(name: bytes, content: bytes) -> _Entry:
    return name, content, Outcome.IMPORTED, "", ""


def _bad(name: bytes, content: bytes, reason: str) -> _Entry:
    return name, content, Outcome.BAD, reason, ""


def _skipped(name: bytes, content: _Content, reason: str) -> _Entry:
    return name, content, Outcome.SKIPPED, reason, ""


def _contents() -> Iterator[_Entry]:
    """Yield the encodings of a data set, and data sets that are cut at different places."""
    yield _stored(b"part10.dcm", as_file(image("part10")))
    yield _stored(b"implicit", as_file(image("implicit"), ImplicitVRLittleEndian))
    yield _stored(b"big-endian.DCM", as_file(image("big-endian"), ExplicitVRBigEndian))
    yield _stored(b"deflated.ima", as_file(image("deflated"), DeflatedExplicitVRLittleEndian))
    yield _stored(b"unknown-transfer-syntax.dcm", as_file(image("unknown"), UNKNOWN_TRANSFER_SYNTAX))
    yield _stored(b"tiff-preamble.dcm", as_file(image("tiff"), preamble=b"II*\0" + b"\0" * 124))
    yield _stored(b"no-preamble", as_file(image("no-preamble"))[132:])
    yield _stored(b"headerless-explicit", headerless(image("headerless-explicit")))
    yield _stored(b"headerless-implicit", headerless(image("headerless-implicit"), implicit_vr=True))
    yield _stored(b"headerless-big-endian", headerless(image("headerless-big"), little_endian=False))
    whole = as_file(image("cut"))
    pixels = whole.rindex(b"\xe0\x7f\x10\x00")
    yield _skipped(b"cut-131.dcm", whole[:131], "not_dicom")
    for place, length, reason in (
        (b"132", 132, "cut_in_meta"),
        (b"meta", 200, "cut_in_meta"),
        (b"data-set", pixels - 61, "cut_in_data_set"),
        (b"pixel-data", len(whole) - 500, "cut_in_pixel_data"),
    ):
        yield _bad(b"cut-" + place + b".dcm", whole[:length], reason)
    yield _bad(b"headerless-cut", headerless(image("headerless-cut"))[:-500], "cut_in_pixel_data")
    yield _bad(
        b"deflated-cut.dcm", as_file(image("deflated-cut"), DeflatedExplicitVRLittleEndian)[:-500], "cut_in_data_set"
    )
    yield _bad(b"magic-elsewhere.dcm", whole[64:], "magic_elsewhere")
    yield _bad(b"magic-garbage.dcm", b"\0" * 128 + b"DICM" + bytes(range(200, 256)) * 40, "garbage")
    yield _bad(b"magic-zeros.dcm", b"\0" * 128 + b"DICM" + b"\0" * 4_096, "garbage")


def _kinds() -> Iterator[_Entry]:
    """Yield instances that are not images, which are stored, and DICOMDIRs, which are not, whatever their name."""
    for kind in OTHER_KINDS:
        yield _stored(kind.encode() + b".dcm", as_file(without_pixels(kind)))
    for name in (b"DICOMDIR", b"IMG0001.dcm", b"DIRFILE"):
        yield _skipped(b"media/" + name, directory_object(), "dicomdir")
    yield _skipped(b"media/headerless-DICOMDIR", directory_object()[132:], "dicomdir")
    yield _skipped(b"hanging-protocol.dcm", hanging_protocol(), "not_of_a_patient")
    yield _stored(b"not-a/DICOMDIR", as_file(image("called DICOMDIR")))


def _identifiers() -> Iterator[_Entry]:
    for keyword, reason in (
        ("StudyInstanceUID", "no_study_uid"),
        ("SeriesInstanceUID", "no_series_uid"),
        ("SOPInstanceUID", "no_instance_uid"),
    ):
        missing = image(f"without {keyword}")
        content = as_file(missing)
        del missing[keyword]
        yield _bad(f"without-{keyword}.dcm".encode(), content[: _meta_end(content)] + headerless(missing), reason)
        empty = image(f"empty {keyword}")
        content = as_file(empty)
        setattr(empty, keyword, "")
        yield _bad(f"empty-{keyword}.dcm".encode(), content[: _meta_end(content)] + headerless(empty), reason)
    anonymous = image("without PatientID")
    del anonymous.PatientID
    yield _stored(b"without-PatientID.dcm", as_file(anonymous))
    yield _bad(b"long-PatientID.dcm", as_file(_raw_patient_id("long", "9" * 1_000)), "patient_id_too_long")
    yield _stored(b"same-PatientID-1.dcm", as_file(image("1", patient_id="SHARED", patient_name="First^Person")))
    yield _stored(
        b"same-PatientID-2.dcm",
        as_file(image("2", patient_id="SHARED", patient_name="Second^Person", birth_date="19800202", study="other")),
    )
    same = as_file(image("same bytes"))
    for name in (b"same-bytes-1.dcm", b"same-bytes-2.dcm"):
        yield name, same, Outcome.DUPLICATE, "same_content", "same bytes"
    for number in (1, 2):
        other = image("same instance")
        other.InstanceNumber = number
        yield f"same-instance-{number}.dcm".encode(), as_file(other), Outcome.CONFLICT, "other_content", "same instance"


def _not_dicom() -> Iterator[_Entry]:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(picture, "JPEG")
    yield _skipped(b"empty.dcm", b"", "empty_file")
    yield _skipped(b"picture.dcm", picture.getvalue(), "picture")
    yield _skipped(b"report.dcm", b"%PDF-1.4\n%%EOF\n", "document")
    yield _skipped(b"text.dcm", b"This is no image.\n" * 20, "text")
    yield _skipped(b"json.dcm", b'{"00080018": {"vr": "UI"}}' * 10, "text")
    yield _skipped(b"page.dcm", b"<!DOCTYPE html><html><body>404</body></html>" * 5, "text")
    yield _skipped(b"utf-32.dcm", ("A text in UTF-32. " * 40).encode("utf-32-le"), "text")
    yield _skipped(b"utf-16.dcm", ("A text in UTF-16. " * 40).encode("utf-16-be"), "text")
    yield _skipped(b"noise.dcm", bytes((7 * n * n + 13 * n + 201) % 256 for n in range(2_000)), "not_dicom")
    yield _skipped(b"image.dcm.gz", gzip.compress(as_file(image("gzip")), mtime=0), "archive_opened")
    yield _skipped(b"images.7z", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(range(200)), "archive_not_opened")
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive, tarfile.open(fileobj=tarred, mode="w") as tar:
        for number in (1, 2):
            archive.writestr(zipfile.ZipInfo(f"{number}.dcm"), as_file(image(f"zipped {number}")))
            content = as_file(image(f"in a tar {number}"))
            member = tarfile.TarInfo(f"{number}.dcm")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    yield _skipped(b"images.zip", zipped.getvalue(), "archive_opened")
    yield _skipped(b"images.tar", tarred.getvalue(), "archive_opened")


def _in_archives() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the archives of `_not_dicom` and the files in them."""
    yield "not_dicom/image.dcm.gz", ("image.dcm",)
    yield "not_dicom/images.zip", ("1.dcm", "2.dcm")
    yield "not_dicom/images.tar", ("1.dcm", "2.dcm")


def _names() -> Iterator[_Entry]:
    for number, name in enumerate(
        (
            b"no-extension",
            b".hidden",
            b"-rf",
            b"new\nline.dcm",
            b"tab\there.dcm",
            b"latin-\xe9.dcm",
            "caf\u00e9.dcm".encode(),
            "cafe\u0301.dcm".encode(),
            b"quotes'\"`$(id);&|.dcm",
            b"back\\slash.dcm",
            b"per%cent%0A.dcm",
            b" spaces .dcm",
            "\U0001f9b4.dcm".encode(),
            b"n" * 251 + b".dcm",
            b"/".join([b"d" * 60] * 12) + b"/deep.dcm",
        )
    ):
        yield _stored(name, as_file(image(f"name {number}")))
    for name in (b"copy.dcm.partial", b"copy.tmp", b"copy.dcm.filepart"):
        yield _skipped(name, as_file(image("half"))[:900], "temporary_name")
    for name in (b"._copy.dcm", b"Thumbs.db", b".DS_Store"):
        yield _skipped(name, b"\0\x05\x16\x07" + b"\0" * 78, "system_file")


def _special() -> Iterator[_Entry]:
    yield _skipped(b"pipe.dcm", lambda path, _: os.mkfifo(path), "fifo")
    yield _skipped(b"s.dcm", _make_socket, "socket")
    yield _skipped(b"circle", lambda path, _: os.symlink(os.path.dirname(path), path), "link_inside_root")
    yield _skipped(b"self", lambda path, _: os.symlink(path, path), "link_loop")
    yield _skipped(
        b"second-way.dcm", lambda path, folder: os.symlink(folder / "contents/part10.dcm", path), "link_inside_root"
    )
    yield _skipped(b"second-way", lambda path, folder: os.symlink(folder / "contents", path), "link_inside_root")
    yield _skipped(b"way-out", lambda path, folder: os.symlink(folder.parent, path), "link_outside_root")
    yield _skipped(b"way-out.dcm", lambda path, _: os.symlink("/etc/hostname", path), "link_outside_root")
    yield _skipped(b"#recycle", _make_folder_of_deleted_files, "excluded_folder")
    yield _skipped(b"broken.dcm", lambda path, _: os.symlink(path + ".gone", path), "link_broken")


def _make_folder_of_deleted_files(path: str, _folder: Path) -> None:
    os.makedirs(os.path.join(path, "2025"))
    Path(path, "2025", "deleted.dcm").write_bytes(as_file(image("deleted")))


def _make_socket(path: str, _folder: Path) -> None:
    """Create a socket through a short path, because the path of a socket is limited."""
    short = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{short}/{os.path.basename(path)}")
    finally:
        os.close(short)


def _beyond_the_longest_path(folder: Path) -> Trap:
    """Create a file whose path is too long for a single system call."""
    name, path = "long-" + "p" * 200, str(folder)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    while len(path) < _LONGEST_PATH + 100:
        os.mkdir(name, dir_fd=directory)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
        os.close(directory)
        directory, path = inner, f"{path}/{name}"
    with open(os.open("far.dcm", os.O_WRONLY | os.O_CREAT, dir_fd=directory), "wb") as file:
        file.write(as_file(image("far")))
    os.close(directory)
    return Trap(f"{path}/far.dcm", Outcome.IMPORTED)


def _raw_patient_id(name: str, patient_id: str) -> Dataset:
    """Set the Patient ID without validation, because pydicom warns about such a value."""
    dataset = image(name)
    dataset["PatientID"]._value = patient_id
    return dataset


def _meta_end(content: bytes) -> int:
    """Return the position of the data set, from the group length (0002,0000) (PS3.10, 7.1)."""
    return 144 + int.from_bytes(content[140:144], "little")
