"""The text of an identifier, as Orthanc reads it: its ids are hashes of exactly that text.

Where the standard and Orthanc 1.10.1 differ, Orthanc counts here: what it does was tried value by value.
"""

from __future__ import annotations

import warnings

from pydicom.charset import convert_encodings, decode_bytes, python_encoding

_DELIMITERS = set(b"\\^=\r\n\t\f")  # PS3.5, 6.1.2.5.3: where the character set returns to the first
# PS3.3, C.12.1.1.2: these stand alone and switch to nothing.
_ALONE = {"ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk"}
# JIS X 0201 differs from ASCII in two places, which Python's shift_jis leaves out.
_JIS_ROMAN = str.maketrans({"\\": "\u00a5", "~": "\u203e"})
_JIS_NAMES = frozenset({"ISO_IR 13", "ISO 2022 IR 13"})


def text(value: bytes, character_set: bytes, *, unknown_vr: bool = False) -> str:
    """The text of a value.

    Args:
        character_set: the value of (0008,0005), empty if there is none.
        unknown_vr: the element is written with the VR `UN`, so that nobody knows what fills it up.
    """
    if unknown_vr:
        return _decoded(value.removesuffix(b"\0"), character_set)
    before, nul, _ = value.partition(b"\0")
    return _decoded(before if nul else value.rstrip(b" "), character_set)


def _decoded(value: bytes, character_set: bytes) -> str:
    names = [name.strip(" \0").upper() for name in character_set.decode("latin-1").split("\\")]
    first = names[0]
    if not any(names):
        return value.decode("latin-1")
    if first == "ISO_IR 6" or (first and first not in python_encoding and first not in _ALONE):
        return "".join(chr(byte) for byte in value if 32 <= byte < 127)
    japanese = (first or names[1]) in _JIS_NAMES
    if value.isascii() and b"\x1b" not in value:
        decoded = value.decode("ascii")
    elif first in _ALONE:
        decoded = value.decode(_ALONE[first], "ignore")
    elif len(names) == 1:
        decoded = value.decode(python_encoding[first], "ignore")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known = [name for name in names if name in python_encoding]
            return decode_bytes(value, convert_encodings(known), _DELIMITERS)
    return decoded.translate(_JIS_ROMAN) if japanese else decoded
