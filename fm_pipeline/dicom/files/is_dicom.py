"""Decide whether a file is DICOM: read the instance in it, or find the reason why it is not sent.

Time and memory are bounded, whatever the file holds.
"""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from pydicom.datadict import dictionary_has_tag

from fm_pipeline.dicom.files.byte_source import ByteSource, FileSource, Seekable, read_whole
from fm_pipeline.dicom.files.element_walk import LONGEST_VALUE, walk
from fm_pipeline.dicom.files.elements import BIG_ENDIAN, EXPLICIT, IMPLICIT, Encoding
from fm_pipeline.dicom.files.first_bytes import (
    MAGIC_AT,
    META_BEGINS,
    as_dcmtk_guesses,
    has_magic,
    has_magic_elsewhere,
    kind_of,
    sniff,
)
from fm_pipeline.dicom.files.text import STRING_VRS, Identifier, identifier, is_plain_name, name_text
from fm_pipeline.dicom.files.walk_result import Walk, WalkEnd
from fm_pipeline.dicom.model import Instance, Outcome, RejectedFile, identity

_HEAD = 1 << 14  # bytes read first: the header of most files
_LONGEST_IDENTIFIER = 256  # bytes; Orthanc accepts no longer identifier (ORTHANC_MAXIMUM_TAG_LENGTH)
_MOST_INFLATED = 1 << 23  # bytes of a deflated data set that are kept and walked
_FURTHEST_INFLATED = 1 << 28  # bytes that are inflated to check that the data set is complete
_ENDLESS = 1 << 62  # the size assumed for a data set that continues behind that

_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
# Objects without a patient or a study (PS3.4, GG.3): protocols, approvals, inventories, hanging protocols, palettes,
# implant templates. Orthanc stores none of them.
_NOT_OF_A_PATIENT = frozenset(
    {f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("200.1", "200.3", "200.7", "201.1")}
    | {f"1.2.840.10008.5.1.4.{last}" for last in ("38.1", "39.1", "43.1", "44.1", "45.1")}
)
_DEFLATED_SINCE_2022 = frozenset({"1.2.840.10008.1.2.4.205"})  # an older DCMTK does not inflate it
_DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95"}) | _DEFLATED_SINCE_2022
_STANDARD_SYNTAXES = "1.2.840.10008.1.2."  # PS3.5, 10: all of them are explicit but for the first
_ENCODINGS = {
    "1.2.840.10008.1.2": IMPLICIT,
    "1.2.840.10008.1.2.1": EXPLICIT,
    "1.2.840.10008.1.2.2": BIG_ENDIAN,
    "1.2.840.113619.5.2": IMPLICIT,  # GE private: only its pixel data are big endian
    **dict.fromkeys(_DEFLATED, EXPLICIT),
}
_SYNTAX_OF = {IMPLICIT: "1.2.840.10008.1.2", EXPLICIT: "1.2.840.10008.1.2.1", BIG_ENDIAN: "1.2.840.10008.1.2.2"}

_GROUP_LENGTH, _MEDIA_CLASS, _MEDIA_INSTANCE, _MEDIA_SYNTAX = 0x00020000, 0x00020002, 0x00020003, 0x00020010
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


def inspect(file: Seekable, size: int) -> Instance | RejectedFile:
    """Inspect a file.

    Args:
        file: at any position.
        size: its length in bytes.

    Returns:
        The instance, or SKIPPED or BAD with a reason.

    Raises:
        OSError: the file cannot be read.
    """
    file.seek(0)
    head = read_whole(file, _HEAD)
    source = FileSource(file, size, head)
    if has_magic(head):
        return _part10(file, source, MAGIC_AT + 4)
    if len(head) < 8:
        return _skipped(kind_of(head))
    if encoding := sniff(head, size):
        # Without DICM: either file meta information without the preamble, or a data set alone.
        if _first_group(head, encoding) == 2:
            found = _part10(file, source, 0)
            return found if _is_certain(found) else _unknown(head)
        walked = walk(source, 0, encoding, _WANTED)
        return _judged(source, walked, {}, _SYNTAX_OF[encoding]) if _is_data_set(walked) else _unknown(head)
    return _unusual_data_set(source, head) or _unknown(head)


def _unknown(head: bytes) -> RejectedFile:
    """Reject a file that does not begin as DICOM does."""
    kind = kind_of(head)
    if kind in {"not_dicom", "text"} and has_magic_elsewhere(head):
        return _bad("magic_elsewhere")
    return _skipped(kind)


def _unusual_data_set(source: FileSource, head: bytes) -> Instance | RejectedFile | None:
    """Inspect a headerless data set with an unusual first element, such as a private one.

    Only its identifiers can tell it from other files, so it must have all three UIDs.
    """
    if kind_of(head) != "not_dicom":
        return None
    encoding = as_dcmtk_guesses(head)
    walked = walk(source, 0, encoding, _WANTED)
    if _has_all_uids(walked):
        return _judged(source, walked, {}, _SYNTAX_OF[encoding])
    return None


def _has_all_uids(walked: Walk) -> bool:
    """Return whether a data set has all three UIDs: well-formed, or any value if the elements fill the file exactly."""
    uids = [walked.values.get(tag, b"") for tag in (_SOP_INSTANCE, _STUDY, _SERIES)]
    return all(map(_UID.fullmatch, uids)) or (walked.end is WalkEnd.COMPLETE and all(uids))


def _part10(file: Seekable, source: FileSource, position: int) -> Instance | RejectedFile:
    """Inspect a file with file meta information (PS3.10, 7.1); behind `DICM` it may be missing."""
    data = source.read(position, 12)
    if len(data) < 8:
        return _bad("cut_in_meta")
    encoding = sniff(data, source.size - position, strict=False)
    if encoding is None or _first_group(data, encoding) != 2:
        return _data_set(file, source, position, {})
    # As in DCMTK: if the group length is there, all elements up to it belong to the meta information.
    length = int.from_bytes(data[8:12], "little") if data.startswith(META_BEGINS) else 0
    found = _behind_meta(file, source, position, encoding, until=position + 12 + length if length else None)
    if length and isinstance(found, RejectedFile) and found.reason in {"garbage", "deflate_broken", "cut_in_data_set"}:
        again = _behind_meta(file, source, position, encoding, until=None)
        return replace(again, whole=False) if isinstance(again, Instance) else found
    if isinstance(found, Instance) and encoding == IMPLICIT:
        return replace(found, whole=False)  # the standard and Orthanc expect explicit VR here
    return found


def _behind_meta(
    file: Seekable, source: FileSource, position: int, encoding: Encoding, *, until: int | None
) -> Instance | RejectedFile:
    """Inspect a file whose meta information ends at a position, or with its group."""
    meta = walk(source, position, encoding, _META, only_group=None if until else 2, until=until)
    if meta.end is not WalkEnd.BOUNDARY and meta.end is not WalkEnd.NOT_AN_ELEMENT:
        if meta.end is WalkEnd.COMPLETE and _uid(meta.values, _MEDIA_CLASS) == _MEDIA_STORAGE_DIRECTORY:
            return _skipped("dicomdir")
        return _bad("cut_in_meta")
    found = _data_set(file, source, meta.position, meta.values)
    return found if isinstance(found, RejectedFile) or meta.regular else replace(found, whole=False)


def _data_set(file: Seekable, source: ByteSource, position: int, meta: dict[int, bytes]) -> Instance | RejectedFile:
    syntax = _uid(meta, _MEDIA_SYNTAX)
    inflated = _inflate(file, position) if syntax in _DEFLATED else None
    if isinstance(inflated, RejectedFile) and syntax not in _DEFLATED_SINCE_2022:
        return inflated
    if isinstance(inflated, _Inflated):
        if not inflated.ends:
            return _truncated_deflate(inflated.source, meta)
        found = _encoded(inflated.source, 0, meta, syntax)
        if inflated.followed and isinstance(found, Instance):
            return replace(found, whole=False, holds_another=True)
        return found
    return _encoded(source, position, meta, syntax)


def _encoded(source: ByteSource, position: int, meta: dict[int, bytes], syntax: str) -> Instance | RejectedFile:
    first = source.read(position, 8)
    if not first:
        return _bad("cut_in_data_set")
    # As in DCMTK, the transfer syntax decides; the first element decides only if that is missing or unknown.
    said = _ENCODINGS.get(syntax) or (EXPLICIT if syntax.startswith(_STANDARD_SYNTAXES) else None)
    guessed = as_dcmtk_guesses(first)
    found = _judged(source, walk(source, position, said or guessed, _WANTED), meta, syntax or _SYNTAX_OF[guessed])
    if isinstance(found, Instance) or found.outcome is not Outcome.BAD:
        return found
    if said is None and sniff(first, source.size - position, strict=False) is None:
        return _bad("garbage")
    if said not in {None, guessed}:
        # Perhaps the transfer syntax is wrong. What is found this way is sent, and Orthanc decides.
        otherwise = _judged(source, walk(source, position, guessed, _WANTED), meta, syntax)
        if isinstance(otherwise, Instance):
            return replace(otherwise, whole=False)
    return found


def _truncated_deflate(source: FileSource, meta: dict[int, bytes]) -> Instance | RejectedFile:
    """Inspect a deflated data set without its last bytes. DCMTK does not notice if one byte is missing."""
    for size in (source.size, source.size + 1):
        source.size = size
        found = _judged(source, walk(source, 0, EXPLICIT, _WANTED), meta, _uid(meta, _MEDIA_SYNTAX))
        if isinstance(found, Instance) and found.whole:
            return replace(found, whole=False)
    return _bad("cut_in_data_set")


def _is_certain(found: Instance | RejectedFile) -> bool:
    """Return whether a file without `DICM` that seems to begin with meta information is DICOM after all."""
    return isinstance(found, Instance) or found.reason not in {"garbage", "cut_in_meta"}


def _first_group(data: bytes, encoding: Encoding) -> int:
    return int.from_bytes(data[:2], "big" if encoding.big_endian else "little")


def _is_data_set(walked: Walk) -> bool:
    """Return whether a headerless file is a data set, and not bytes that merely look like elements."""
    if _has_all_uids(walked) or any(_UID.fullmatch(walked.values.get(tag, b"")) for tag in _EVIDENCE):
        return True
    return (
        walked.regular
        and walked.elements >= _ENOUGH_ELEMENTS
        and walked.end in {WalkEnd.COMPLETE, WalkEnd.CUT_IN_PIXEL_DATA}
        and any(dictionary_has_tag(tag) for tag in walked.values)
    )


def _judged(  # noqa: PLR0911
    source: ByteSource, walked: Walk, meta: dict[int, bytes], syntax: str
) -> Instance | RejectedFile:
    values = walked.values
    if walked.end is WalkEnd.CUT_IN_PIXEL_DATA:
        return _bad("cut_in_pixel_data")
    if walked.end is WalkEnd.CUT and walked.regular and not walked.damaged:
        return _bad("cut_in_data_set")
    uids = {tag: _identifier(walked, tag) for tag in (_STUDY, _SERIES, _SOP_INSTANCE)}
    for tag, reason in ((_STUDY, "no_study_uid"), (_SERIES, "no_series_uid"), (_SOP_INSTANCE, "no_instance_uid")):
        if uids[tag].text or (walked.end is WalkEnd.LIMIT if tag not in values else not uids[tag].certain):
            continue
        classes = {_uid(values, _SOP_CLASS), _uid(meta, _MEDIA_CLASS)}
        if _MEDIA_STORAGE_DIRECTORY in classes or _DIRECTORY_TAGS & values.keys():
            return _skipped("dicomdir")
        if tag == _STUDY and tag not in values and walked.end is WalkEnd.COMPLETE and _NOT_OF_A_PATIENT & classes:
            return _skipped("not_of_a_patient")
        return _bad(reason if walked.end is WalkEnd.COMPLETE else "garbage")
    if any(uid.certain and len(uid.text.encode()) > _LONGEST_IDENTIFIER for uid in uids.values()):
        return _bad("uid_too_long")
    patient_id = _identifier(walked, _PATIENT_ID)
    if patient_id.certain and len(patient_id.text.encode()) > _LONGEST_IDENTIFIER:
        return _bad("patient_id_too_long")
    modality, study_date = _code(values, _MODALITY), _code(values, _STUDY_DATE)
    character_set = values.get(_CHARACTER_SET, b"")
    name = values.get(_NAME, b"")
    identity_under = partial(identity, name=name_text(name, character_set), birth_date=_code(values, _BIRTH_DATE))
    # As in two files that somebody has joined.
    holds_another = _SOP_INSTANCE in walked.contradicted or _is_followed(source, walked, uids[_SOP_INSTANCE].text)
    return Instance(
        patient_id=patient_id.text,
        study_uid=uids[_STUDY].text,
        series_uid=uids[_SERIES].text,
        instance_uid=uids[_SOP_INSTANCE].text,
        sop_class_uid=_uid(values, _SOP_CLASS) or _uid(meta, _MEDIA_CLASS),
        transfer_syntax=syntax,
        # Only a code of the standard is kept: it is shown in counts, and free text may hold patient data.
        modality=modality if re.fullmatch(r"[A-Z0-9_]{1,16}", modality) else "",
        study_date=study_date if re.fullmatch(r"[0-9]{8}", study_date) else "",
        identity=identity_under(patient_id.text),
        other_readings=tuple((other, identity_under(other)) for other in sorted(patient_id.others)),
        plain_name=is_plain_name(name),
        nesting=walked.nesting,
        id_certain=all(each.certain for each in (patient_id, *uids.values())),
        whole=walked.end in {WalkEnd.COMPLETE, WalkEnd.LIMIT} and not walked.damaged and not holds_another,
        holds_another=holds_another,
    )


def _is_followed(source: ByteSource, walked: Walk, instance_uid: str) -> bool:
    """Return whether the file of another instance begins behind a data set, in whatever encoding."""
    behind = source.read(walked.disorder, _HEAD) if walked.disorder else b""
    if not has_magic_elsewhere(behind):
        return False
    begins = behind.find(META_BEGINS) if META_BEGINS in behind else behind.find(b"DICM") + 4
    meta = walk(source, walked.disorder + begins, EXPLICIT, frozenset({_MEDIA_INSTANCE}), only_group=2)
    return _uid(meta.values, _MEDIA_INSTANCE) != instance_uid


def _identifier(walked: Walk, tag: int) -> Identifier:
    value = walked.values.get(tag)
    if value is None:
        return Identifier("", walked.end is WalkEnd.COMPLETE)
    vr = walked.vrs[tag] or (b"LO" if tag == _PATIENT_ID else b"UI")
    # Orthanc ignores a character set that is not written as text.
    is_text = walked.vrs.get(_CHARACTER_SET, b"") in STRING_VRS | {b""}
    found = identifier(value, vr, walked.values.get(_CHARACTER_SET, b"") if is_text else b"")
    # In a data set in order, the character set precedes all identifiers. Otherwise it may be behind the walk's end.
    known = _CHARACTER_SET in walked.values or walked.end is WalkEnd.COMPLETE or value.isascii()
    return found._replace(certain=found.certain and known and len(value) < LONGEST_VALUE)


def _uid(values: dict[int, bytes], tag: int) -> str:
    return identifier(values.get(tag, b""), b"UI", b"").text


def _code(values: dict[int, bytes], tag: int) -> str:
    return values.get(tag, b"").decode("latin-1").strip(" \0")


class _Inflated(NamedTuple):
    """The beginning of a deflated data set.

    Attributes:
        ends: whether the deflate stream is complete.
        followed: whether another DICOM file begins behind it.
    """

    source: FileSource
    ends: bool
    followed: bool


def _inflate(file: Seekable, position: int) -> _Inflated | RejectedFile:
    """Inflate a data set (PS3.5, A.5; RFC 1951)."""
    file.seek(position)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    kept, total, piece, ends = bytearray(), 0, b"", True
    try:
        while not inflater.eof and total < _FURTHEST_INFLATED:
            piece = piece or file.read(1 << 16)
            data = inflater.decompress(piece, 1 << 20)
            if not piece and not data:  # the file has ended, and nothing is left to inflate
                ends = False
                break
            piece = inflater.unconsumed_tail
            total += len(data)
            kept += data[: _MOST_INFLATED - len(kept)]
    except zlib.error:
        return _bad("deflate_broken")
    size = total if inflater.eof or not ends else _ENDLESS
    followed = inflater.eof and has_magic_elsewhere(inflater.unused_data + file.read(_HEAD))
    return _Inflated(FileSource(io.BytesIO(kept), size, bytes(kept[:_HEAD])), ends, followed)


def _skipped(reason: str) -> RejectedFile:
    return RejectedFile(Outcome.SKIPPED, reason)


def _bad(reason: str) -> RejectedFile:
    return RejectedFile(Outcome.BAD, reason)
