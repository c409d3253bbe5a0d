"""Random archives against `zipfile`, `tarfile` and pydicom: `python -m fm_pipeline_tests.dicom.files.random_archives`.

A round has 50 folders of archives, imported into a real Orthanc, and 500 archives with damage, which are only looked
into. It has a seed of its own, which it names: begin with that to go on. Exit code 0 if all of it held.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pydicom
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydicom.errors import InvalidDicomError

from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom import reasons
from fm_pipeline.dicom.api.preview import PreviewTotals, preview
from fm_pipeline.dicom.files.archives.faults import ArchiveFault, MemberFault
from fm_pipeline.dicom.files.archives.limits import ArchiveLimits
from fm_pipeline.dicom.files.archives.opened import OpenArchive
from fm_pipeline.dicom.scan.walk import scan
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.support.archives import gzipped, tarred, zipped
from fm_pipeline_tests.support.orthanc import own_orthanc
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database
from fm_pipeline_tests.support.searching import count_and_seed, say
from fm_pipeline_tests.support.services import memory_folder

FOLDERS, DAMAGED = 50, 500
_IMAGES = [as_file(image(f"random {number}")) for number in range(6)]
_OTHERS = [b"", b"A text. " * 9, b"\x89PNG\r\n" + bytes(range(99)), _IMAGES[0][:700], bytes(300)]
_IN_ORTHANC = ("imported", "already_there", "duplicate")


@dataclass(frozen=True)
class Packed:
    """An archive, and what it was made of."""

    content: bytes
    files: tuple[tuple[str, bytes], ...]


_ZIPS: list[Callable[..., bytes]] = [
    partial(zipped, method=method)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
]
_TARS: list[Callable[..., bytes]] = [
    partial(tarred, format_=format_) for format_ in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)
]
_STREAMS: list[Callable[[bytes], bytes]] = [bytes, gzipped, bz2.compress, lzma.compress]


def archives() -> SearchStrategy[Packed]:
    """Of every format, with files of every kind under names of every kind, also twice."""
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    names = st.one_of(
        st.sampled_from(("IM1", "IM1.dcm", "a/IM1", "../IM1", "/IM1", "DICOMDIR", "a/b/../IM1", "word/IM1")),
        st.text(letters, min_size=1, max_size=40).filter(lambda name: not name.endswith(("/", "\\")) and name != "."),
    )
    contents = st.sampled_from([*_IMAGES, *_IMAGES, *_OTHERS])
    files = st.lists(st.tuples(names, contents), max_size=7).map(tuple)
    packers: SearchStrategy[Callable[..., bytes]] = st.one_of(
        st.sampled_from(_ZIPS),
        st.tuples(st.sampled_from(_STREAMS), st.sampled_from(_TARS)).map(
            lambda each: lambda files: each[0](each[1](files))
        ),
    )
    return st.builds(lambda pack, files: Packed(pack(files), files), packers, files)


def listed(content: bytes) -> list[bytes]:
    """The files in an archive, as Python's own libraries read them."""
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            return [opened.read(info) for info in opened.infolist() if not info.is_dir()]
    for mark, unpack in ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress), (b"\xfd7zXZ", lzma.decompress)):
        if content.startswith(mark):
            content = unpack(content)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return [file.read() for info in tar if info.isfile() and (file := tar.extractfile(info))]


def uid(content: bytes) -> str | None:
    """Of a whole DICOM file, as pydicom reads it; None of anything else."""
    try:
        found = pydicom.dcmread(io.BytesIO(content))
    except (InvalidDicomError, EOFError):
        return None
    return str(found.SOPInstanceUID) if "PixelData" in found else None


def see_import(importing: ImportBench, packed: list[Packed]) -> None:
    """A folder of archives comes into Orthanc as the libraries say, and each file has one row."""
    shutil.rmtree(importing.folder)
    importing.folder.mkdir()
    (importing.folder / "readme.txt").write_bytes(b"A text. " * 9)  # a folder without files is no job
    for number, each in enumerate(packed):
        (importing.folder / str(number)).write_bytes(each.content)
    job = importing.imported()
    rows = importing.rows(job.id)
    assert len(rows) == job.files_processed == job.total_files
    for number, each in enumerate(packed):
        mine = [row for path, row in rows.items() if path.startswith(f"{importing.folder}/{number}!/")]
        files = listed(each.content)
        wanted = sorted(each for each in map(uid, files) if each)
        assert sorted(row.instance_uid or "" for row in mine if row.status in _IN_ORTHANC) == wanted
        holds_dicom = any(content[128:132] == b"DICM" for content in files)
        if holds_dicom and not any(row.reason == "excluded_folder" for row in mine):
            assert len(mine) == len(files)
        elif not holds_dicom:
            assert mine == []


def see_damaged(folder: Path, packed: Packed, cut: int, flips: list[int]) -> None:
    """Damage never stops a look, always has a reason that is known, and never gives a ZIP other bytes than it had."""
    content = bytearray(packed.content[: len(packed.content) - cut])
    for flip in flips if content else ():
        content[flip % len(content)] ^= 1 << flip % 8
    (folder / "a").write_bytes(content or b"\0")
    limits = ArchiveLimits(members=100, unpacked_bytes=1 << 24, ratio=100, folder=folder.parent / "unpacked")
    for seen in preview(str(folder), PreviewTotals(), limits):
        assert seen.reason is None or seen.reason in reasons.OF_FILES
    (found,) = scan(str(folder))
    try:
        archive = OpenArchive(found, limits)  # type: ignore[arg-type]  # a file
    except ArchiveFault:
        return
    originals = {data for _, data in packed.files}
    with archive:
        for member in archive.members:
            try:
                data = b"".join(archive.read(member))
            except MemberFault:
                continue
            assert len(data) == member.size
            assert not content.startswith(b"PK") or data in originals


def search_imports(importing: ImportBench, count: int, seed: int) -> None:
    """Look for archives of which not all comes into Orthanc."""

    @with_seed(seed)
    @settings(max_examples=count, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.lists(archives(), min_size=2, max_size=4))
    def one(packed: list[Packed]) -> None:
        see_import(importing, packed)

    one()


def search_damage(folder: Path, count: int, seed: int) -> None:
    """Look for damage that is not noticed, or that nobody foresaw."""
    folder.mkdir(exist_ok=True)

    @with_seed(seed)
    @settings(max_examples=count, database=None, deadline=None)
    @given(archives(), st.integers(0, 200), st.lists(st.integers(0, 1 << 16), max_size=4))
    def one(packed: Packed, cut: int, flips: list[int]) -> None:
        see_damaged(folder, packed, cut, flips)

    one()


def main() -> int:
    """Rounds of random archives."""
    arguments = count_and_seed("dicom-archives", __doc__, count=4, of="rounds", seed="of the first round").parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="dicom-archives-") as name,
        temporary_stack([DisposablePostgreSQL], parent=memory_folder()) as stack,
        empty_database(stack.service(DisposablePostgreSQL)) as url,
        own_orthanc() as orthanc,
    ):
        migrate(url)
        top = Path(name)
        importing = ImportBench(import_settings(url, orthanc.settings(), top / "state"), top / "hospital")
        importing.folder.mkdir()
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            search_imports(importing, FOLDERS, seed)
            search_damage(top / "damaged", DAMAGED, seed)
            say(f"seed {seed}: {FOLDERS} folders of archives imported, {DAMAGED} damaged ones looked into")
    return 0


if __name__ == "__main__":
    sys.exit(main())
