"""DICOM files written byte by byte, for content that pydicom would correct or refuse to write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from struct import pack

from fm_pipeline.dicom.files.elements import BIG_ENDIAN, EXPLICIT, IMPLICIT, LONG_VRS, Encoding

SYNTAXES = {IMPLICIT: "1.2.840.10008.1.2", EXPLICIT: "1.2.840.10008.1.2.1", BIG_ENDIAN: "1.2.840.10008.1.2.2"}
UNDEFINED = 0xFFFFFFFF
STUDY, SERIES, SOP, PATIENT_ID, CHARACTER_SET = 0x0020000D, 0x0020000E, 0x00080018, 0x00100020, 0x00080005
SECONDARY_CAPTURE = b"1.2.840.10008.5.1.4.1.1.7"


def element(
    tag: int, vr: str, value: bytes = b"", encoding: Encoding = EXPLICIT, *, length: int | None = None
) -> bytes:
    """Return an element. Its value is padded to an even length.

    Args:
        length: what its header says, if that is not the length of the value.
    """
    if len(value) % 2:
        value += b"\0" if vr in {"UI", "OB", "UN"} else b" "
    size = len(value) if length is None else length
    order = ">" if encoding.big_endian else "<"
    head = pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if encoding.implicit:
        return head + pack("<L", size) + value
    long = vr.encode() in LONG_VRS
    return head + vr.encode() + pack(f"{order}HL" if long else f"{order}H", *([0, size] if long else [size])) + value


def item(content: bytes = b"", *, length: int | None = None, big_endian: bool = False) -> bytes:
    """Return an item of a sequence."""
    return pack(">HHL" if big_endian else "<HHL", 0xFFFE, 0xE000, len(content) if length is None else length) + content


ITEM_END, SEQUENCE_END = pack("<HHL", 0xFFFE, 0xE00D, 0), pack("<HHL", 0xFFFE, 0xE0DD, 0)


def part10(data_set: bytes, syntax: str = SYNTAXES[EXPLICIT], *, media_class: bytes = SECONDARY_CAPTURE) -> bytes:
    """Return a file with meta information (PS3.10, 7.1) and a data set."""
    meta = b"".join(
        element(tag, "UI", value)
        for tag, value in ((0x00020002, media_class), (0x00020003, b"1.2.3"), (0x00020010, syntax.encode()))
    )
    return b"\0" * 128 + b"DICM" + element(0x00020000, "UL", pack("<L", len(meta))) + meta + data_set


@dataclass(frozen=True)
class Handwritten:
    """A small secondary capture.

    Attributes:
        vrs: those of identifiers that are not written with the VR of the dictionary.
        early: elements between the SOP instance UID and the patient.
        late: elements between the identifiers and the pixel data.
    """

    patient_id: bytes | None = b"HAND"
    study: bytes | None = b"1.2.826.0.1.1"
    series: bytes | None = b"1.2.826.0.1.2"
    sop: bytes | None = b"1.2.826.0.1.3"
    character_set: bytes | None = None
    encoding: Encoding = EXPLICIT
    vrs: tuple[tuple[int, str], ...] = ()
    first: bytes = b""
    early: bytes = b""
    late: bytes = b""
    pixels: bytes | None = b"\7" * 64

    def but(self, **changes: object) -> Handwritten:
        """Return a copy with other attributes."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def data_set(self) -> bytes:
        """The data set alone."""
        return (
            self.first
            + self._one(CHARACTER_SET, "CS", self.character_set)
            + self._one(0x00080016, "UI", SECONDARY_CAPTURE)
            + self._one(SOP, "UI", self.sop)
            + self.early
            + self._one(PATIENT_ID, "LO", self.patient_id)
            + self._one(STUDY, "UI", self.study)
            + self._one(SERIES, "UI", self.series)
            + self.late
            + self._one(0x7FE00010, "OB", self.pixels)
        )

    @property
    def file(self) -> bytes:
        """With file meta information."""
        return part10(self.data_set, SYNTAXES[self.encoding])

    def _one(self, tag: int, vr: str, value: bytes | None) -> bytes:
        return b"" if value is None else element(tag, dict(self.vrs).get(tag, vr), value, self.encoding)


def grey_image() -> Handwritten:
    """With pixels that can be shown and compressed."""
    describing = b"".join(
        element(tag, "US", pack("<H", value)) if isinstance(value, int) else element(tag, "CS", value)
        for tag, value in (
            (0x00280002, 1),
            (0x00280004, b"MONOCHROME2"),
            (0x00280010, 8),
            (0x00280011, 8),
            (0x00280100, 8),
            (0x00280101, 8),
            (0x00280102, 7),
            (0x00280103, 0),
        )
    )
    return Handwritten(late=describing, pixels=bytes(range(64)))
