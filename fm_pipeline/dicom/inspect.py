"""What a file is: an instance to be sent, or why not. Bounded in time and memory, whatever the file holds."""

from __future__ import annotations

import io
import re
import zlib

from pydicom.datadict import dictionary_has_tag

from fm_pipeline.dicom.detect import MAGIC_AT, has_magic, kind_of, sniff
from fm_pipeline.dicom.elements import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    Encoding,
    End,
    FileSource,
    Seekable,
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

_GROUP_LENGTH, _MEDIA_CLASS, _MEDIA_SYNTAX = 0x00020000, 0x00020002, 0x00020010
_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE, _STUDY_DATE = 0x00080005, 0x00080016, 0x00080018, 0x00080020
_MODALITY, _NAME, _PATIENT_ID, _BIRTH_DATE = 0x00080060, 0x00100010, 0x00100020, 0x00100030
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_DIRECTORY_TAGS = frozenset({0x00041130, 0x00041200, 0x00041220})
_META = frozenset({_GROUP_LENGTH, _MEDIA_CLASS, _MEDIA_SYNTAX})
_WANTED = (
    frozenset({_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE, _STUDY_DATE, _MODALITY, _NAME, _PATIENT_ID, _BIRTH_DATE})
    | {_STUDY, _SERIES}
    | _DIRECTORY_TAGS
)
_EVIDENCE = (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)
_UID = re.compile(rb"[0-9]+(\.[0-9]+)+[\0 ]*")
_ENOUGH_ELEMENTS = 3


def inspect(file: Seekable, size: int) -> Instance | Rejected:
    """Look at a file.

    Args:
        file: at any position.
        size: its length in bytes.

    Returns:
        What it says of itself, or SKIPPED or BAD with a reason.

    Raises:
        OSError: it cannot be read.
    """
    file.seek(0)
    head = file.read(_HEAD)
    source = FileSource(file, size, head)
    if has_magic(head):
        return _part10(file, source, MAGIC_AT + 4)
    if len(head) < 8 or not (encoding := sniff(head, size)):
        return _skipped(kind_of(head))
    # Without the mark: either the file meta information without what precedes it, or the data set alone.
    if _first_group(head, encoding) == 2:
        found = _part10(file, source, 0)
        return found if _is_certain(found) else _skipped(kind_of(head))
    walked = walk(source, 0, encoding, _WANTED)
    return _judged(walked, {}, _SYNTAX_OF[encoding]) if _is_data_set(walked) else _skipped(kind_of(head))


def _part10(file: Seekable, source: FileSource, position: int) -> Instance | Rejected:
    """Of a file with file meta information (PS3.10, 7.1), or after `DICM` perhaps without."""
    data = source.read(position, 8)
    if len(data) < 8:
        return _bad("cut_in_meta")
    begins = position
    values: dict[int, bytes] = {}
    encoding = sniff(data, source.size - position, strict=False)
    if encoding is not None and _first_group(data, encoding) == 2:
        meta = walk(source, position, encoding, _META, only_group=2)
        if meta.end in {End.CUT, End.COMPLETE}:
            return _bad("cut_in_meta")
        if _uid(meta.values, _MEDIA_CLASS) == _MEDIA_STORAGE_DIRECTORY:
            return _skipped("dicomdir")
        begins, values = meta.position, meta.values
    found = _data_set(file, source, begins, values)
    if isinstance(found, Rejected) and found.reason in {"garbage", "deflate_broken"}:
        # Where elements of the meta group are broken, its length still says where the data set begins.
        length = int.from_bytes(source.read(position + 8, 4), "little")
        again = _data_set(file, source, position + 12 + length, values)
        return again if isinstance(again, Instance) else found
    return found


def _data_set(file: Seekable, source: Source, position: int, meta: dict[int, bytes]) -> Instance | Rejected:
    syntax = _uid(meta, _MEDIA_SYNTAX)
    if syntax in _DEFLATED:
        inflated = _inflate(file, position)
        if isinstance(inflated, Rejected):
            return inflated
        source, position = inflated, 0
    said = _ENCODINGS.get(syntax, EXPLICIT) if syntax else None
    # The first element says it, whatever the transfer syntax says: some files lie.
    encoding = sniff(source.read(position, 8), source.size - position, strict=False) or said
    if encoding is None:
        return _bad("garbage")
    return _judged(walk(source, position, encoding, _WANTED), meta, syntax or _SYNTAX_OF[encoding])


def _is_certain(found: Instance | Rejected) -> bool:
    """Of what seems to begin with file meta information and has no mark."""
    return isinstance(found, Instance) or found.reason not in {"garbage", "cut_in_meta"}


def _first_group(data: bytes, encoding: Encoding) -> int:
    return int.from_bytes(data[:2], "big" if encoding.big_endian else "little")


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


def _inflate(file: Seekable, position: int) -> Source | Rejected:
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
