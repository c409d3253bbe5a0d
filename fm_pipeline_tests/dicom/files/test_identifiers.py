"""Identifiers are those that Orthanc reads, wherever they stand in a file: tried on a real Orthanc."""

from __future__ import annotations

import io
from dataclasses import replace
from struct import pack

import pytest

from fm_pipeline.dicom.files import element_walk, is_dicom
from fm_pipeline.dicom.files.byte_source import FileSource
from fm_pipeline.dicom.files.elements import BIG_ENDIAN, EXPLICIT, IMPLICIT, Encoding
from fm_pipeline.dicom.files.text import identifier
from fm_pipeline.dicom.model import Instance
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.sandbox.dicom.hospital import sample_files
from fm_pipeline_tests.dicom.files.handwritten import (
    PATIENT_ID,
    SERIES,
    SOP,
    STUDY,
    SYNTAXES,
    Handwritten,
    element,
    item,
)
from fm_pipeline_tests.dicom.files.random_identifiers import search
from fm_pipeline_tests.dicom.files.verdicts import instance, look, orthanc_says
from fm_pipeline_tests.support.orthanc import own_orthanc

ENCODINGS = [EXPLICIT, IMPLICIT, BIG_ENDIAN]
HEAD_BYTES = 1 << 14


def with_filler(length: int, encoding: Encoding) -> bytes:
    """A private element of that many bytes, header and all."""
    header = 8 if encoding.implicit else 12
    return element(0x00090001, "OB", b"f" * (length - header), encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("tag", [SOP, PATIENT_ID, STUDY, SERIES])
def test_an_identifier_is_read_whole_wherever_the_first_window_ends(encoding: Encoding, tag: int) -> None:
    plain = Handwritten(encoding=encoding)
    expected = instance(plain.file)
    order = ">" if encoding.big_endian else "<"
    at = plain.file.index(pack(f"{order}HH", tag >> 16, tag & 0xFFFF))
    for before in range(0, 40, 2):
        moved = plain.but(first=with_filler(HEAD_BYTES - at - before, encoding))
        assert moved.file[HEAD_BYTES - before :][:4] == pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
        assert instance(moved.file) == expected, before


@pytest.mark.parametrize("window", [12, 13, 64, 100])
def test_no_size_of_the_windows_that_a_file_is_read_in_changes_its_identifiers(
    window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [Handwritten(encoding=encoding).file for encoding in ENCODINGS]
    contents += [path.read_bytes() for path in list(sample_files())[::5]]

    def seen() -> list[object]:
        found = [look(content) for content in contents]
        # How deep sequences are nested is exact only where it is too deep.
        return [replace(one, nesting=0) if isinstance(one, Instance) else one for one in found]

    expected = seen()
    monkeypatch.setattr(element_walk, "_WINDOW", window)
    assert seen() == expected
    for head in (132, 133, 140, 333, 400):
        monkeypatch.setattr(is_dicom, "_HEAD", head)
        assert [one for one in seen() if isinstance(one, Instance)] == [
            one for one in expected if isinstance(one, Instance)
        ]


@pytest.mark.parametrize("term", [b"ISO_IR_100", b"ISO_2022_IR_100", b"iso_ir_203"])
def test_a_misspelt_character_set_that_only_newer_versions_of_orthanc_know_makes_an_identifier_uncertain(
    term: bytes,
) -> None:
    found = identifier(b"M\xfcller", b"LO", term)
    assert (found.text, found.certain, "Mller" in found.others) == ("M\u00fcller", False, True)
    assert identifier(b"Huber", b"LO", term) == ("Huber", True, frozenset())
    assert identifier(b"M\xfcller", b"LO", b"ISO 8859-1") == ("Mller", True, frozenset())


def test_every_sample_that_is_shifted_by_a_private_element_keeps_its_identifiers() -> None:
    shifted = 0
    for path in sample_files():
        content = path.read_bytes()
        found = look(content)
        if not isinstance(found, Instance) or not found.whole or content[128:136] != b"DICM\2\0\0\0":
            continue
        encoding = {str(syntax): each for each, syntax in SYNTAXES.items()}.get(found.transfer_syntax, EXPLICIT)
        if found.transfer_syntax == "1.2.840.10008.1.2.1.99":
            continue  # what is in it is not shifted by that
        begins = 144 + int.from_bytes(content[140:144], "little")
        for length in range(12, 75, 2):
            moved = instance(content[:begins] + with_filler(length, encoding) + content[begins:])
            assert (moved.orthanc_id, moved.whole) == (found.orthanc_id, found.whole), (path, length)
            shifted += 1
    assert shifted > 3000


def test_a_share_that_gives_less_at_once_than_it_was_asked_for_is_asked_again() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 100))

    content = Handwritten(first=with_filler(HEAD_BYTES, EXPLICIT)).file
    assert is_dicom.inspect(Slow(content), len(content)) == instance(content)


def test_a_read_is_short_only_at_the_end_of_the_file() -> None:
    content = bytes(range(100))
    source = FileSource(io.BytesIO(content), len(content), content[:50])
    for position in range(110):
        for length in (1, 8, 12, 64):
            assert source.read(position, length) == content[position : position + length]


@pytest.mark.parametrize("encoding", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(
    "uid",
    [
        b" 1.2",
        b"1. 2",
        b"1.2 \0",
        b"1.2\t",
        b"1.2\r\n",
        b"\v1.2\f",
        b"1.2\0 3",
        b"1.2 \0 ",
        b"A B",
        b"1\\2",
        b"1.2\xa0",
    ],
)
def test_white_space_in_a_uid_does_not_count(orthanc: Orthanc, encoding: Encoding, uid: bytes) -> None:
    for name in ("study", "series", "sop"):
        content = Handwritten(encoding=encoding, character_set=b"ISO_IR 100").but(**{name: uid}).file
        assert instance(content).orthanc_id == orthanc_says(orthanc, content)


@pytest.mark.parametrize("value", [b" A B ", b"A\0B", b"A \0", b"A\\B", b"A\t", b"", b"   ", b"A" + b" " * 2_000])
def test_of_a_patient_id_leading_space_counts_and_trailing_does_not(orthanc: Orthanc, value: bytes) -> None:
    content = Handwritten(patient_id=value).file
    assert instance(content).orthanc_id == orthanc_says(orthanc, content)


def test_the_first_of_two_elements_with_the_same_tag_counts(orthanc: Orthanc) -> None:
    content = Handwritten(late=element(PATIENT_ID, "LO", b"SECOND") + element(STUDY, "UI", b"1.2.3")).file
    assert instance(content).patient_id == "HAND"
    assert instance(content).orthanc_id == orthanc_says(orthanc, content)


def test_identifiers_inside_a_sequence_are_not_those_of_the_instance(orthanc: Orthanc) -> None:
    inner = item(element(PATIENT_ID, "LO", b"INNER") + element(STUDY, "UI", b"1.2.3"))
    for vr in ("SQ", "UN"):
        content = Handwritten(early=element(0x00091010, vr, inner)).file
        assert instance(content).patient_id == "HAND"
        assert instance(content).orthanc_id == orthanc_says(orthanc, content)


def test_an_identifier_that_stands_behind_the_pixel_data_is_found(orthanc: Orthanc) -> None:
    content = Handwritten(patient_id=None).file + element(PATIENT_ID, "LO", b"LATE")
    assert instance(content).patient_id == "LATE"
    assert instance(content).orthanc_id == orthanc_says(orthanc, content)


@pytest.mark.parametrize("vr", ["US", "FD", "AT", "SQ"])
def test_an_identifier_that_is_no_text_makes_the_id_uncertain(vr: str) -> None:
    assert not instance(Handwritten(vrs=((PATIENT_ID, vr),)).file).id_certain


def test_without_a_character_set_a_patient_id_beyond_ascii_makes_the_id_uncertain() -> None:
    for character_set, certain in ((None, False), (b"", False), (b"ISO_IR 100", True), (b"ISO_IR 6", True)):
        assert instance(Handwritten(patient_id=b"caf\xe9", character_set=character_set).file).id_certain is certain
        assert instance(Handwritten(character_set=character_set).file).id_certain


@pytest.mark.parametrize("default", ["Utf8", "Ascii"])
def test_no_default_encoding_of_orthanc_changes_an_id_that_is_called_certain(default: str) -> None:
    values = (b"A-1", b"caf\xe9", "caf\u00e9".encode(), b"A\tB", b"a b^c=d/e_f.g")
    with own_orthanc(DefaultEncoding=default) as server:
        of = server.settings()
        with Orthanc(of["ORTHANC_URL"], of["ORTHANC_USERNAME"], of["ORTHANC_PASSWORD"]) as client:
            for value in values:
                for character_set in (None, b"ISO_IR 100"):
                    content = Handwritten(patient_id=value, character_set=character_set).file
                    found = instance(content)
                    assert found.orthanc_id == orthanc_says(client, content) or not found.id_certain


def test_random_identifiers_are_read_as_orthanc_reads_them_or_called_uncertain(orthanc: Orthanc) -> None:
    search(orthanc, count=100, seed=1)
