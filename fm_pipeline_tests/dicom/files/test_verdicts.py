"""A file is bad or skipped by content only if Orthanc refuses it. What Orthanc accepts is sent with the right id."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from itertools import product
from struct import pack

import pytest
from PIL import Image
from pydicom import uid

from fm_pipeline.dicom import reasons
from fm_pipeline.dicom.files import is_dicom
from fm_pipeline.dicom.files.elements import BIG_ENDIAN, EXPLICIT, IMPLICIT, Encoding
from fm_pipeline.dicom.model import Instance, Outcome, RejectedFile
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.sandbox.dicom.hospital import sample_files
from fm_pipeline.sandbox.dicom.instances import directory_object
from fm_pipeline_tests.dicom.files.handwritten import (
    ITEM_END,
    PATIENT_ID,
    SEQUENCE_END,
    SOP,
    STUDY,
    SYNTAXES,
    UNDEFINED,
    Handwritten,
    element,
    item,
    part10,
)
from fm_pipeline_tests.dicom.files.verdicts import instance, is_id, look, orthanc_says

ENCODINGS = [EXPLICIT, IMPLICIT, BIG_ENDIAN]
DEFLATED, DEFLATED_SINCE_2022 = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.205"
NOISE = bytes((number * 37 + 11) % 256 for number in range(90_000))
PIXELS, PIXEL_HEADER = 64, 12  # bytes

WHOLE = Handwritten()


def deflated(data_set: bytes, *, cut: int = 0, wbits: int = -zlib.MAX_WBITS, syntax: str = DEFLATED) -> bytes:
    deflater = zlib.compressobj(6, zlib.DEFLATED, wbits)
    content = deflater.compress(data_set) + deflater.flush()
    return part10(content[: len(content) - cut], syntax)


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(buffer, "JPEG")
    return buffer.getvalue()


def late(*elements: bytes, encoding: Encoding = EXPLICIT) -> bytes:
    return Handwritten(encoding=encoding, late=b"".join(elements)).file


OF_NO_PATIENT = [
    uid.HangingProtocolStorage,
    uid.ColorPaletteStorage,
    uid.GenericImplantTemplateStorage,
    uid.ImplantAssemblyTemplateStorage,
    uid.ImplantTemplateGroupStorage,
    uid.CTDefinedProcedureProtocolStorage,
    uid.ProtocolApprovalStorage,
    uid.XADefinedProcedureProtocolStorage,
    uid.InventoryStorage,
]


def of_no_patient(sop_class: uid.UID) -> list[bytes]:
    """Return an object without a study, with and without file meta information."""
    data_set = element(0x00080016, "UI", sop_class.encode()) + element(SOP, "UI", b"1.2.3.4")
    return [part10(data_set, media_class=sop_class.encode()), data_set]


# Of each reason that content alone gives: files that have it.
REFUSED: dict[str, list[bytes]] = {
    "empty_file": [b""],
    "zeros": [bytes(4_000)],
    "picture": [picture()],
    "document": [b"%PDF-1.4\n%%EOF\n" * 9],
    "text": [b"This is no image.\n" * 20, b'{"00080018": {"vr": "UI"}}' * 10],
    "not_dicom": [NOISE[:5_000], WHOLE.file[:131]],
    "dicomdir": [directory_object(), directory_object()[132:]],
    "not_of_a_patient": [content for each in OF_NO_PATIENT for content in of_no_patient(each)],
    "garbage": [
        b"\0" * 128 + b"DICM" + bytes(range(200, 256)) * 40,
        b"\0" * 128 + b"DICM" + bytes(4_096),
        Handwritten(first=item()).file,
        Handwritten(first=SEQUENCE_END).file,
        part10(zlib.compress(WHOLE.data_set)),
    ],
    "magic_elsewhere": [
        WHOLE.file[128:],
        bytes(128) + WHOLE.file,
        b"\0\0" + WHOLE.file,
        bytes(128) + WHOLE.file[132:],
        b"--b\r\nContent-Type: application/dicom\r\n\r\n" + WHOLE.file + b"\r\n--b--",
    ],
    "cut_in_meta": [WHOLE.file[:length] for length in (132, 140, 150, 200)],
    "cut_in_data_set": [WHOLE.file[: -PIXELS - PIXEL_HEADER + some] for some in (1, 2, 7, 8, 9, 11)]
    + [WHOLE.file + bytes(some) for some in range(1, 8)]
    + [
        WHOLE.file + b"\n",
        Handwritten(late=element(0x00400275, "SQ", item(), length=UNDEFINED), pixels=None).file,
        deflated(WHOLE.data_set, cut=2),
        deflated(WHOLE.data_set, cut=40),
    ],
    "cut_in_pixel_data": [
        Handwritten(encoding=encoding).file[:-some] for encoding, some in product(ENCODINGS, (1, 2, 60))
    ]
    + [deflated(WHOLE.data_set[:-2])],
    "deflate_broken": [
        part10(WHOLE.data_set, DEFLATED),
        deflated(WHOLE.data_set, wbits=zlib.MAX_WBITS),
    ],
    **{
        reason: [Handwritten().but(**{name: value}).file for value in (None, b"", b"\0\0", b"  ", b"\0001.2")]
        for reason, name in (("no_study_uid", "study"), ("no_series_uid", "series"), ("no_instance_uid", "sop"))
    },
    "uid_too_long": [Handwritten(study=b"1." * 129).file, Handwritten(sop=b"1." * 500).file],
    "patient_id_too_long": [
        Handwritten(patient_id=b"9" * 258).file,
        Handwritten(patient_id=b"\xe9" * 129 + b"AB", character_set=b"ISO_IR 100").file,
    ],
}
# Of other reasons the content is not the cause, or there is a test elsewhere.
ELSEWHERE = {"archive", "damaged_copy"}


@pytest.mark.parametrize("reason", list(REFUSED))
def test_a_reason_for_which_no_file_is_sent_is_one_for_which_orthanc_refuses_it(orthanc: Orthanc, reason: str) -> None:
    for content in REFUSED[reason]:
        found = look(content)
        assert found == RejectedFile(Outcome.BAD if reason in reasons.BAD else Outcome.SKIPPED, reason)
        said = orthanc_says(orthanc, content)
        assert said in reasons.REFUSED, (reason, said)


def test_every_reason_that_makes_a_file_bad_is_proved() -> None:
    assert reasons.BAD.keys() - REFUSED.keys() <= ELSEWHERE


def private(value: bytes, encoding: Encoding = EXPLICIT, vr: str = "UN", **more: int) -> bytes:
    return element(0x00091010, vr, value, encoding, **more)


def with_first(group: int, encoding: Encoding) -> Handwritten:
    return Handwritten(encoding=encoding, first=element(group << 16 | 0x10, "LO", b"FIRST", encoding))


INNER = element(0x00081150, "UI", b"1.2.3", IMPLICIT)
LIKE_AN_ITEM = (
    item(NOISE, length=0x77777777),
    item(NOISE, length=64),
    item() + SEQUENCE_END + NOISE,
    item() + item(NOISE),
)

TAKEN: dict[str, Callable[[], list[bytes]]] = {
    "a private element that begins like a sequence": lambda: [
        Handwritten(encoding=IMPLICIT, early=element(tag, "UN", value[:length], IMPLICIT)).file
        for tag, value, length in product((0x00291020, 0x00089999, 0x00081010), LIKE_AN_ITEM, (2_000, 90_000))
    ],
    "a private element first": lambda: [
        with_first(group, encoding).file
        for group, encoding in product((1, 3, 9, 0xFD, 0xFE, 0x100, 0x101, 0x200, 0x1001, 0x4141, 0x7FE1), ENCODINGS)
    ],
    "a private element first, and nothing before it": lambda: [
        with_first(group, encoding).data_set for group, encoding in product((9, 0x11, 0x101, 0x4141), ENCODINGS)
    ],
    "unknown VR and undefined length": lambda: [
        Handwritten(encoding=encoding, early=private(item(INNER) + SEQUENCE_END, encoding, length=UNDEFINED)).file
        for encoding in ENCODINGS
    ],
    "sequences": lambda: [
        late(element(0x00081140, "SQ", item(element(0x00081150, "UI", b"1.2"))), element(0x00081199, "SQ")),
        late(element(0x00081140, "SQ", item(length=UNDEFINED) + ITEM_END + SEQUENCE_END, length=UNDEFINED)),
        late(element(0x00081140, "SQ", item(INNER), IMPLICIT), encoding=IMPLICIT),
    ],
    "a sequence of which only the header is there": lambda: [
        Handwritten(late=element(0x00081140, "SQ", length=UNDEFINED), pixels=None).file,
    ],
    "a length that spells a VR": lambda: [
        Handwritten(encoding=IMPLICIT, first=element(0x00080001, "UN", b"a" * length, IMPLICIT)).file
        for length in (0x4144, 0x4342, 0x4E56, 0x5154, 0x424E)
    ],
    "VRs that are none": lambda: (
        [Handwritten(early=pack("<HH2sHL", 9, 0x1010, vr, 0, 4) + b"ABCD").file for vr in (b"ZZ", b"OX", b"ox", b"lt")]
        + [
            Handwritten(early=pack("<HH2sH", 9, 0x1010, vr, 4) + b"ABCD").file
            for vr in (b"??", b"--", b"\0\0", b"un", b"lo")
        ]
    ),
    "zeros between and behind the elements": lambda: [
        Handwritten(early=bytes(64)).file,
        WHOLE.file + bytes(8),
        WHOLE.file + bytes(80_000),
        Handwritten(early=element(0, "UL", bytes(4))).file,
    ],
    "odd lengths, group lengths, elements out of order": lambda: [
        Handwritten(early=pack("<HH2sH", 9, 0x1010, b"LO", 3) + b"ABC").file,
        Handwritten(early=element(0x00100000, "UL", bytes(4)), late=element(0x00080060, "CS", b"OT")).file,
    ],
    "the end of an item outside of a sequence": lambda: [late(ITEM_END), WHOLE.file + ITEM_END],
    "a directory's elements in an image": lambda: [
        Handwritten(first=element(0x00041130, "CS", b"NAME")).file,
        part10(WHOLE.data_set, media_class=b"1.2.840.10008.1.3.10"),
    ],
    "another length of the meta information": lambda: [
        WHOLE.file[:140] + pack("<L", length) + WHOLE.file[144:]
        for length in (0, 18, WHOLE.file[140] - 12, WHOLE.file[140] + 8)
    ],
    "no length of the meta information": lambda: [WHOLE.file[:132] + WHOLE.file[144:]],
    "a transfer syntax that is missing or unknown": lambda: [
        part10(Handwritten(encoding=encoding).data_set, syntax)
        for encoding, syntax in product(ENCODINGS, ("1.2.3.99", "", "1.2.840.10008.1.2.\0"))
    ],
    "deflated": lambda: [deflated(WHOLE.data_set), deflated(WHOLE.data_set) + b"\0\0"],
    "a transfer syntax of 2022": lambda: [part10(WHOLE.data_set, DEFLATED_SINCE_2022)],
    "deflated to a small part of it": lambda: [deflated(WHOLE.but(pixels=bytes(3 << 20)).data_set)],
    "a UID of which most is white space": lambda: [Handwritten(study=b" 1" * 200).file],
}


# 1.12.7 refuses zeros as filling and VRs of two zero bytes, which 1.10.1 takes; and it knows more transfer syntaxes.
NOT_BY_EVERY_VERSION = {
    "VRs that are none",
    "zeros between and behind the elements",
    "a transfer syntax of 2022",
}


@pytest.mark.parametrize("kind", list(TAKEN))
def test_what_orthanc_takes_is_an_instance_with_the_id_that_orthanc_gives_it(orthanc: Orthanc, kind: str) -> None:
    for number, content in enumerate(TAKEN[kind]()):
        found = look(content)
        assert isinstance(found, Instance), (number, found)
        assert found.id_certain
        said = orthanc_says(orthanc, content)
        assert found.orthanc_id == said or (kind in NOT_BY_EVERY_VERSION and not is_id(said)), number


def test_what_a_transfer_syntax_of_2022_deflates_is_read() -> None:
    """Orthanc 1.12.7 takes it deflated, 1.10.1 as it is."""
    found = instance(deflated(WHOLE.data_set, syntax=DEFLATED_SINCE_2022))
    assert found.orthanc_id == instance(WHOLE.file).orthanc_id


def test_a_quarter_of_a_million_elements_before_the_identifiers_hide_nothing() -> None:
    many = b"".join(pack("<HHL", group, number, 0) for group in (9, 11, 13, 15) for number in range(0x100, 0xFFFF))
    assert instance(Handwritten(encoding=IMPLICIT, early=many).file) == instance(Handwritten(encoding=IMPLICIT).file)


def test_identifiers_behind_more_than_is_looked_at_are_uncertain_and_not_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fm_pipeline.dicom.files.element_walk.MOST_STEPS", 20)
    early = b"".join(private(b"ABCD", vr="LO") for _ in range(30))
    for written in (Handwritten(early=early), Handwritten(first=early)):
        found = instance(written.file)
        assert not found.id_certain


@pytest.mark.parametrize(
    "content",
    [
        WHOLE.file + bytes(range(56, 256)),
        late(element(0x00081140, "SQ", b"\1" * 70_000)),
        late(element(0x00081140, "SQ", item(NOISE))),
        late(element(0x00081140, "SQ", item(NOISE, length=0x77777777), IMPLICIT), encoding=IMPLICIT),
        late(element(0x00091010, "OB", item(b"abcd") + SEQUENCE_END, length=UNDEFINED)),
        part10(WHOLE.data_set, SYNTAXES[IMPLICIT]),
    ],
)
def test_what_is_damaged_and_has_its_identifiers_is_left_to_orthanc(orthanc: Orthanc, content: bytes) -> None:
    """It is sent; `whole` is for the case that Orthanc has the instance from another file."""
    assert not instance(content).whole
    assert not is_id(orthanc_says(orthanc, content))


def test_the_walk_goes_on_behind_a_sequence_that_an_inner_one_has_run_out_of(orthanc: Orthanc) -> None:
    """The inner sequence has no delimiter, and its only value ends far behind the outer sequence."""
    runs_out = element(0x00091010, "OB", length=150_000)
    inner = element(0x0040A730, "SQ", item(length=UNDEFINED) + runs_out, length=UNDEFINED)
    outer = element(0x00400275, "SQ", (item(length=UNDEFINED) + inner).ljust(70_000, b"\0"))
    content = WHOLE.but(late=outer, pixels=b"\xfe\xff\x11\x11" * 50_000).file
    found = instance(content)
    assert (found.orthanc_id, found.whole) == (instance(WHOLE.file).orthanc_id, False)
    said = orthanc_says(orthanc, content)
    assert said == found.orthanc_id or not is_id(said)


def test_an_empty_element_with_the_tag_zero_is_not_padding(orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fm_pipeline.dicom.files.element_walk.MOST_STEPS", 1_000)
    content = WHOLE.but(early=element(0, "LO")).file
    found = instance(content)
    assert found == instance(WHOLE.file)
    said = orthanc_says(orthanc, content)
    assert said == found.orthanc_id or not is_id(said), said


def test_every_sample_of_pydicom_is_judged_as_orthanc_judges_it(orthanc: Orthanc) -> None:
    taken = 0
    for path in sample_files():
        content = path.read_bytes()
        found, said = look(content), orthanc_says(orthanc, content)
        if is_id(said):
            assert isinstance(found, Instance), path
            assert found.orthanc_id == said or not found.id_certain, path
            taken += 1
        else:
            assert not isinstance(found, Instance) or not found.whole, path
    assert taken > 100


def test_a_tag_that_is_there_twice_is_read_once_and_the_first_time(orthanc: Orthanc) -> None:
    for tag, vr, value in ((PATIENT_ID, "LO", b"SECOND"), (STUDY, "UI", b"1.2.3"), (STUDY, "SQ", b"")):
        content = late(element(tag, vr, value))
        assert instance(content).orthanc_id == orthanc_says(orthanc, content)


def test_what_is_inflated_only_in_part_is_not_called_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    content = deflated(WHOLE.but(pixels=bytes(3 << 20)).data_set)
    expected = instance(content)
    for furthest, most in ((1_000, 1_000), (2 << 20, 600), (1 << 30, 600)):
        monkeypatch.setattr(is_dicom, "_FURTHEST_INFLATED", furthest)
        monkeypatch.setattr(is_dicom, "_MOST_INFLATED", most)
        assert instance(content) == expected


def test_identifiers_beyond_what_is_inflated_are_uncertain_and_not_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(is_dicom, "_MOST_INFLATED", 1_000)
    assert not instance(deflated(WHOLE.but(early=private(NOISE)).data_set)).id_certain
