"""Inspecting files of any content and any name."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from fm_pipeline.dicom import model, reasons
from fm_pipeline.dicom.files import element_walk
from fm_pipeline.dicom.files.is_dicom import inspect
from fm_pipeline.dicom.model import Instance, Outcome, RejectedFile, identity, orthanc_id, other_person
from fm_pipeline.sandbox.dicom.broken import broken_files
from fm_pipeline.sandbox.dicom.hospital import sample_files
from fm_pipeline.sandbox.dicom.instances import as_file, headerless, image, nested


def look(content: bytes) -> Instance | RejectedFile:
    return inspect(io.BytesIO(content), len(content))


def instance(content: bytes) -> Instance:
    found = look(content)
    assert isinstance(found, Instance), found
    return found


class CountingFile(io.BytesIO):
    """Counts what is read of it."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def samples() -> list[tuple[Path, bytes, Instance]]:
    """pydicom's files that are instances and have a preamble."""
    found = [(path, path.read_bytes()) for path in sample_files()]
    judged = [(path, content, look(content)) for path, content in found if content[128:132] == b"DICM"]
    return [(path, content, one) for path, content, one in judged if isinstance(one, Instance)]


@pytest.mark.filterwarnings("ignore::UserWarning")  # some samples are broken on purpose
@pytest.mark.hard_case(34)
def test_every_identifier_is_the_one_that_pydicom_reads() -> None:
    for path, content, found in samples():
        dataset = pydicom.dcmread(io.BytesIO(content), force=True, stop_before_pixels=True)
        assert found.study_uid == dataset.StudyInstanceUID, path
        assert found.series_uid == dataset.SeriesInstanceUID, path
        assert found.instance_uid == dataset.SOPInstanceUID, path
        assert found.patient_id.rstrip() == str(dataset.get("PatientID", "") or ""), path


@pytest.mark.hard_case(34)
def test_without_a_preamble_every_sample_is_recognised() -> None:
    assert len(samples()) > 100
    for path, content, found in samples():
        assert look(content[132:]) == found, path


@pytest.mark.hard_case(34)
def test_without_file_meta_information_every_sample_is_recognised() -> None:
    for path, content, found in samples():
        if found.transfer_syntax == DeflatedExplicitVRLittleEndian:
            continue  # nothing says that it is deflated
        data_set = content[144 + int.from_bytes(content[140:144], "little") :]
        assert instance(data_set).orthanc_id == found.orthanc_id, path


@pytest.mark.hard_case(34)
def test_ordinary_files_are_not_taken_for_dicom() -> None:
    """The files of an installed Python stand for those of any computer."""
    library = Path(io.__file__).parent
    folders = [library, *(library / name for name in ("__pycache__", "asyncio", "email", "encodings", "lib-dynload"))]
    looked = 0
    for path in sorted(each for folder in folders for each in folder.glob("*")):
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                found = inspect(file, path.stat().st_size)
            assert isinstance(found, RejectedFile), path
            assert found.outcome is Outcome.SKIPPED, path
            looked += 1
    assert looked > 200


@pytest.mark.parametrize(
    "transfer_syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.hard_case(34)
def test_the_encoding_makes_no_difference(transfer_syntax: str) -> None:
    assert instance(as_file(image("same"), transfer_syntax)).orthanc_id == instance(as_file(image("same"))).orthanc_id


@pytest.mark.hard_case(34)
def test_a_wrong_transfer_syntax_in_the_meta_information_does_not_hide_the_identifiers() -> None:
    lying = as_file(image("lying"), ExplicitVRBigEndian)
    begins = 144 + int.from_bytes(lying[140:144], "little")
    found = instance(lying[:begins] + headerless(image("lying"), implicit_vr=True))
    assert (found.orthanc_id, found.whole) == (instance(as_file(image("lying"))).orthanc_id, False)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 131, 132, 140, 150, 200])
@pytest.mark.hard_case(34)
def test_a_file_that_ends_early_is_no_instance(length: int) -> None:
    assert isinstance(look(as_file(image("cut"))[:length]), RejectedFile)


@pytest.mark.hard_case(34)
def test_a_file_that_ends_anywhere_inside_an_element_is_bad() -> None:
    whole = as_file(image("cut anywhere", size=64))
    verdicts = [look(whole[:length]) for length in range(132, len(whole))]
    whole_elements = [one for one in verdicts if isinstance(one, Instance)]
    # Cut exactly between two elements, behind the identifiers, it is a valid file: nobody can know better.
    assert len(whole_elements) < 20
    assert {one.reason for one in verdicts if isinstance(one, RejectedFile)} >= {
        "cut_in_meta",
        "cut_in_data_set",
        "cut_in_pixel_data",
    }


@pytest.mark.hard_case(34)
def test_a_gigabyte_of_zeros_costs_one_small_read(tmp_path: Path) -> None:
    path = tmp_path / "zeros.dcm"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    content = CountingFile(b"\0" * (1 << 20))
    assert inspect(content, 1 << 30) == RejectedFile(Outcome.SKIPPED, "zeros")
    assert content.taken < 100_000
    with path.open("rb") as real:
        assert inspect(real, 1 << 30) == RejectedFile(Outcome.SKIPPED, "zeros")


@pytest.mark.hard_case(34)
def test_zeros_without_end_behind_the_header_are_given_up() -> None:
    content = as_file(image("filled"))[:400] + b"\0" * (8 << 20)
    assert isinstance(look(content), RejectedFile)


@pytest.mark.hard_case(46)
def test_pixel_data_are_stepped_over() -> None:
    content = as_file(image("large", size=20_000_000))
    file = CountingFile(content)
    assert isinstance(inspect(file, len(content)), Instance)
    assert file.taken < 200_000


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """A limit of nesting that any Orthanc stores more than."""
    for module in (element_walk, model):
        monkeypatch.setattr(module, "DEEPEST_SAFE_NESTING", 6)
    return 6


SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.hard_case(36)
def test_what_is_nested_deeper_than_the_limit_is_suspect_however_it_is_written(small_limit: int, syntax: str) -> None:
    for depth in (1, small_limit - 1, small_limit):
        assert not instance(as_file(nested(depth), syntax)).nested_too_deep
    for depth in (small_limit + 1, small_limit + 2, 3 * small_limit):  # the innermost one is empty
        assert instance(as_file(nested(depth), syntax)).nested_too_deep


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.hard_case(36)
def test_an_innermost_sequence_that_is_empty_counts_with_and_without_vr(small_limit: int, syntax: str) -> None:
    for depth in (1, small_limit + 1):  # in between a walk may be content with less
        assert instance(as_file(nested(depth), syntax)).nesting == depth


@pytest.mark.hard_case(35)
def test_a_missing_patient_id_is_flagged_and_the_instance_is_stored() -> None:
    anonymous = image("anonymous")
    del anonymous.PatientID
    found = instance(as_file(anonymous))
    assert found.without_patient_id
    assert orthanc_id(found.patient_id) == "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"


@pytest.mark.hard_case(35)
def test_another_name_or_birth_date_under_one_patient_id_is_another_person() -> None:
    first = identity("1", "Doe^Jane", "19700101")
    assert not other_person(first, identity("1", "DOE^JANE^^", "19700101"))
    assert not other_person(first, identity("1", "", "19700101"))
    assert not other_person(first, identity("1", "Doe^Jane=\u4f60", ""))
    assert other_person(first, identity("1", "Doe^John", "19700101"))
    assert other_person(first, identity("1", "Doe^Jane", "19700102"))
    assert "Doe" not in first


def test_a_modality_is_a_code_or_nothing() -> None:
    odd = image("odd")
    odd["Modality"]._value = "Jane Doe"
    assert instance(as_file(odd)).modality == ""


@pytest.mark.parametrize(
    ("character_set", "raw", "text"),
    [
        # What Orthanc 1.10.1 was seen to hash.
        (b"", b"caf\xe9", "caf\u00e9"),
        (b"ISO_IR 100", b"caf\xe9", "caf\u00e9"),
        (b"ISO_IR 192", "caf\u00e9".encode(), "caf\u00e9"),
        (b"ISO_IR 192", b"caf\xe9", "caf"),
        (b"ISO_IR 144", "\u0416".encode("iso8859-5"), "\u0416"),
        (b"ISO_IR 999", b"caf\xe9\x16", "caf"),
        (b"ISO_IR 6", b"caf\xe9", "caf"),
        (b"ISO_IR 13", b"A\\B~", "A\u00a5B\u203e"),
        (b"\\ISO 2022 IR 13", b"A\\B~", "A\u00a5B\u203e"),
        (b"\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B", "\u5c71\u7530"),
        (b"GB18030", "\u738b".encode("gb18030"), "\u738b"),
        (b"", b" A ", " A"),
        (b"", b"A\0B", "A"),
        (b"", b"A \0", "A "),
    ],
)
def test_a_patient_id_is_read_as_orthanc_reads_it(character_set: bytes, raw: bytes, text: str) -> None:
    assert instance(with_patient_id(raw, character_set)).patient_id == text


def test_a_patient_id_of_unknown_vr_keeps_what_fills_it_up() -> None:
    assert instance(with_patient_id(b"A ", b"", vr=b"UN")).patient_id == "A "


def with_patient_id(raw: bytes, character_set: bytes, *, vr: bytes = b"LO") -> bytes:
    """A file with exactly these bytes as its Patient ID and character set."""
    dataset = image("text")
    for keyword in ("PatientID", "SpecificCharacterSet"):
        del dataset[keyword]
    content = as_file(dataset)
    begins = 144 + int.from_bytes(content[140:144], "little")
    birth = content.index(b"\x10\x00\x30\x00DA")
    raw += b" " * (len(raw) % 2)
    character_set += b" " * (len(character_set) % 2)
    length = len(raw).to_bytes(2, "little") if vr != b"UN" else b"\0\0" + len(raw).to_bytes(4, "little")
    charset = b"\x08\x00\x05\x00CS" + len(character_set).to_bytes(2, "little") + character_set
    patient = b"\x10\x00\x20\x00" + vr + length + raw
    return content[:begins] + charset + content[begins:birth] + patient + content[birth:]


def test_a_broken_file_gives_a_verdict_with_a_known_reason_and_never_an_error() -> None:
    for seed in range(4):
        for name, content in broken_files(200, seed):
            found = look(content)
            if isinstance(found, RejectedFile):
                assert found.reason in (reasons.BAD if found.outcome is Outcome.BAD else reasons.SKIPPED), name


@pytest.mark.hard_case(48)
def test_an_archive_is_skipped_by_its_kind_and_nothing_of_it_is_unpacked() -> None:
    noise = random.Random(48).randbytes(1 << 16)  # noqa: S311  # any bytes do; they stay larger than what is read
    packed = gzip.compress(noise, mtime=0)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../outside.dcm", as_file(image("zipped")))
        archive.writestr("noise", noise)
    for content in (packed, zipped.getvalue(), gzip.compress(as_file(image("gzip")), mtime=0)):
        file = CountingFile(content)
        assert inspect(file, len(content)) == RejectedFile(Outcome.SKIPPED, "archive")
        assert file.taken <= 1 << 14
