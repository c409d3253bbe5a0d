"""What a file is: an instance to be sent, or why not. Bounded in time and memory, whatever the file holds."""

from __future__ import annotations

import io
import re
import zlib
from typing import BinaryIO

from pydicom.datadict import dictionary_has_tag

from fm_pipeline.dicom.detect import MAGIC_AT, has_magic, kind_of, sniff
from fm_pipeline.dicom.elements import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    Encoding,
    End,
    FileSource,
    Source,
    Walk,
    walk,
)
from fm_pipeline.dicom.model import Instance, Outcome, Rejected, identity
from fm_pipeline.dicom.text import text

_HEAD = 1 << 14  # bytes read first: the header of most files
_LONGEST_IDENTIFIER = 256  # bytes; Orthanc takes no longer value for an identifier (ORTHANC_MAXIMUM_TAG_LENGTH)
_MOST_INFLATED = 1 << 23  # bytes of a deflated data set that are kept to be looked at
_FURTHEST_INFLATED = 1 << 28  # bytes up to which it is inflated to see that it is whole

_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95"})
_ENCODINGS = {
    "1.2.840.10008.1.2": IMPLICIT,
    "1.2.840.10008.1.2.2": BIG_ENDIAN,
    "1.2.840.113619.5.2": IMPLICIT,  # GE private: only its pixel data are big endian
}
_SYNTAX_OF = {IMPLICIT: "1.2.840.10008.1.2", EXPLICIT: "1.2.840.10008.1.2.1", BIG_ENDIAN: "1.2.840.10008.1.2.2"}

_MEDIA_CLASS, _MEDIA_SYNTAX = 0x00020002, 0x00020010
_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE, _STUDY_DATE = 0x00080005, 0x00080016, 0x00080018, 0x00080020
_MODALITY, _NAME, _PATIENT_ID, _BIRTH_DATE = 0x00080060, 0x00100010, 0x00100020, 0x00100030
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_DIRECTORY_TAGS = frozenset({0x00041130, 0x00041200, 0x00041220})
_META = frozenset({_MEDIA_CLASS, _MEDIA_SYNTAX})
_WANTED = (
    frozenset({_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE, _STUDY_DATE, _MODALITY, _NAME, _PATIENT_ID, _BIRTH_DATE})
    | {_STUDY, _SERIES}
    | _DIRECTORY_TAGS
)
_EVIDENCE = (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)
_UID = re.compile(rb"[0-9]+(\.[0-9]+)+[\0 ]*")
_ENOUGH_ELEMENTS = 3


def inspect(file: BinaryIO, size: int) -> Instance | Rejected:  # noqa: PLR0911  # each is one reason
    """Look at a file.

    Args:
        file: readable and seekable, at any position.
        size: its length in bytes.

    Returns:
        What it says of itself, or SKIPPED or BAD with a reason.

    Raises:
        OSError: it cannot be read.
    """
    file.seek(0)
    head = file.read(_HEAD)
    source: Source = FileSource(file, size, head)
    meta: dict[int, bytes] = {}
    position, certain = 0, False
    if has_magic(head):
        position, certain = MAGIC_AT + 4, True
    elif not (len(head) >= 8 and sniff(head, size)):
        return _skipped(kind_of(head))
    encoding = sniff(source.read(position, 8), size - position, strict=not certain)
    if encoding is not None and _first_group(source.read(position, 2), encoding) == 2:
        walked = walk(source, position, encoding, _META, only_group=2)
        if walked.end in {End.CUT, End.COMPLETE}:
            return _bad("cut_in_meta") if certain or _META & walked.values.keys() else _skipped(kind_of(head))
        meta, position, certain = walked.values, walked.position, True
        if _uid(meta, _MEDIA_CLASS) == _MEDIA_STORAGE_DIRECTORY:
            return _skipped("dicomdir")
    elif certain and size - position < 8:
        return _bad("cut_in_meta")
    syntax = _uid(meta, _MEDIA_SYNTAX)
    if syntax in _DEFLATED:
        inflated = _inflate(file, position)
        if isinstance(inflated, Rejected):
            return inflated
        source, position = inflated, 0
    encoding = _encoding(source, position, syntax, certain)
    if encoding is None:
        return _bad("garbage") if certain else _skipped(kind_of(head))
    walked = walk(source, position, encoding, _WANTED)
    if not certain and not _is_data_set(walked):
        return _skipped(kind_of(head))
    return _judged(walked, meta, syntax or _SYNTAX_OF[encoding])


def _first_group(data: bytes, encoding: Encoding) -> int:
    return int.from_bytes(data, "big" if encoding.big_endian else "little")


def _encoding(source: Source, position: int, syntax: str, certain: bool) -> Encoding | None:
    """What the transfer syntax says, unless the first element says otherwise: some files lie."""
    data, remaining = source.read(position, 8), source.size - position
    said = _ENCODINGS.get(syntax, EXPLICIT) if syntax else None
    seen = sniff(data, remaining, strict=not certain)
    return seen or said


def _is_data_set(walked: Walk) -> bool:
    """Of a file without any mark: whether its elements are those of DICOM and not bytes that look like them."""
    if any(_UID.fullmatch(walked.values.get(tag, b"")) for tag in _EVIDENCE):
        return True
    return (
        walked.regular
        and walked.elements >= _ENOUGH_ELEMENTS
        and walked.end in {End.COMPLETE, End.CUT_IN_PIXEL_DATA}
        and any(dictionary_has_tag(tag) for tag in walked.values)
    )


def _judged(walked: Walk, meta: dict[int, bytes], syntax: str) -> Instance | Rejected:  # noqa: PLR0911
    values = walked.values
    if _uid(values, _SOP_CLASS) == _MEDIA_STORAGE_DIRECTORY or _DIRECTORY_TAGS & values.keys():
        return _skipped("dicomdir")
    if walked.end is End.CUT_IN_PIXEL_DATA:
        return _bad("cut_in_pixel_data")
    if walked.end is End.CUT and walked.regular:
        return _bad("cut_in_data_set")
    uids = {tag: _text(walked, tag) for tag in (_STUDY, _SERIES, _SOP_INSTANCE)}
    for tag, reason in ((_STUDY, "no_study_uid"), (_SERIES, "no_series_uid"), (_SOP_INSTANCE, "no_instance_uid")):
        if not uids[tag]:
            lost = walked.end is not End.COMPLETE
            return _bad("garbage" if lost else reason)
    if any(len(uid) > _LONGEST_IDENTIFIER for uid in uids.values()):
        return _bad("uid_too_long")
    patient_id = _text(walked, _PATIENT_ID)
    if len(patient_id.encode()) > _LONGEST_IDENTIFIER:
        return _bad("patient_id_too_long")
    modality, study_date = _text(walked, _MODALITY).strip(" \0"), _text(walked, _STUDY_DATE).strip(" \0")
    return Instance(
        patient_id=patient_id,
        study_uid=uids[_STUDY],
        series_uid=uids[_SERIES],
        instance_uid=uids[_SOP_INSTANCE],
        sop_class_uid=_uid(values, _SOP_CLASS) or _uid(meta, _MEDIA_CLASS),
        transfer_syntax=syntax,
        # A code of the standard or nothing: it is shown in counts, and must not carry what somebody typed.
        modality=modality if re.fullmatch(r"[A-Z0-9_]{1,16}", modality) else "",
        study_date=study_date if re.fullmatch(r"[0-9]{8}", study_date) else "",
        identity=identity(patient_id, _text(walked, _NAME), _text(walked, _BIRTH_DATE)),
        nesting=walked.nesting,
    )


def _uid(values: dict[int, bytes], tag: int) -> str:
    return values.get(tag, b"").decode("latin-1").strip(" \0")


def _text(walked: Walk, tag: int) -> str:
    value = walked.values.get(tag, b"")
    return text(value, walked.values.get(_CHARACTER_SET, b""), unknown_vr=tag in walked.of_unknown_vr)


def _inflate(file: BinaryIO, position: int) -> Source | Rejected:
    """The beginning of a deflated data set, and whether it is whole (PS3.5, A.5; RFC 1951)."""
    file.seek(position)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    kept, total, piece = bytearray(), 0, b""
    try:
        while not inflater.eof and total < _FURTHEST_INFLATED:
            if not piece and not (piece := file.read(1 << 16)):
                return _bad("cut_in_data_set")
            data = inflater.decompress(piece, 1 << 20)
            piece = inflater.unconsumed_tail
            total += len(data)
            kept += data[: _MOST_INFLATED - len(kept)]
    except zlib.error:
        return _bad("deflate_broken")
    return FileSource(io.BytesIO(kept), total, bytes(kept[:_HEAD]))


def _skipped(reason: str) -> Rejected:
    return Rejected(Outcome.SKIPPED, reason)


def _bad(reason: str) -> Rejected:
    return Rejected(Outcome.BAD, reason)
