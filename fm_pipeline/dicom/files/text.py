"""Decode an identifier as Orthanc does: Orthanc's ids are hashes of exactly that text.

Both steps were compared with Orthanc value by value. DCMTK strips white space and padding by the rule of the VR. Then
Orthanc converts the rest to UTF-8 with the first character set of (0008,0005). It ignores code extensions within a
value, so the same bytes can read differently in an identifier and in a name (`name_text`).
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import NamedTuple

from pydicom.charset import convert_encodings, decode_bytes, python_encoding

_DELIMITERS = set(b"\\^=\r\n\t\f")  # PS3.5, 6.1.2.5.3: where the character set returns to the first
_WHITE_SPACE = b" \t\n\v\f\r"
# The VRs whose values DCMTK keeps as strings. They are padded with a space, except for UI.
STRING_VRS = frozenset(b"AE AS CS DA DS DT IS LO LT PN SH ST TM UC UR UT".split())
_SINGLE_BYTE = {
    "100": "latin-1",
    "101": "iso8859-2",
    "109": "iso8859-3",
    "110": "iso8859-4",
    "126": "iso8859-7",
    "127": "iso8859-6",
    "138": "iso8859-8",
    "144": "iso8859-5",
    "148": "iso8859-9",
    "166": "tis_620",
}
_JAPANESE = "shift_jis"
# PS3.3, C.12.1.1.2: the defined terms that Orthanc knows. It reads any other term as ASCII.
_CODECS = {
    **{f"ISO_IR {number}": codec for number, codec in _SINGLE_BYTE.items()},
    **{f"ISO 2022 IR {number}": codec for number, codec in _SINGLE_BYTE.items()},
    "ISO_IR 13": _JAPANESE,
    "ISO 2022 IR 13": _JAPANESE,
    "ISO 2022 IR 58": "gb2312",
    "ISO 2022 IR 87": "iso2022_jp",
    "ISO 2022 IR 149": "euc_kr",
    "ISO_IR 192": "utf-8",
    "GB18030": "gb18030",
    "GBK": "gb18030",
}
_SHOWN_BYTES = 32  # of a value that is not text
_MULTIPLE_BYTE = frozenset({"gb2312", "gb18030", "iso2022_jp", "euc_kr", _JAPANESE})
_LATER_TERMS = dict.fromkeys(("ISO_IR 203", "ISO 2022 IR 203"), "iso8859-15")  # in the standard since 2022
# A newer Orthanc (seen with 1.12.7) also knows terms with underscores for spaces, such as ISO_IR_100.
_CODECS_OF_NEWER = {term.replace("_", " "): codec for term, codec in (_CODECS | _LATER_TERMS).items()}
_OF_ANY_ORTHANC = frozenset({*_CODECS_OF_NEWER.values(), "cp1251"})  # the last one only as DefaultEncoding
# JIS X 0201 differs from ASCII in two characters, which Python's shift_jis does not convert.
_JIS_ROMAN = str.maketrans({"\\": "\u00a5", "~": "\u203e"})
_ESCAPE = re.compile("\x1b(?:\\$[@AB]|\\$?[()*+./-][@-Z])")
# All conversion tables agree on these characters. They differ on symbols and private characters.
_COMMON = re.compile("[ -~\u3041-\u3096\u30a1-\u30fe\u4e00-\u9fa5\uac00-\ud7a3\uff61-\uff9f]*")


class Identifier(NamedTuple):
    """The text of an identifier.

    Attributes:
        certain: every Orthanc reads the same.
        others: what an Orthanc with another version or configuration may read, if it is not certain.
    """

    text: str
    certain: bool
    others: frozenset[str] = frozenset()


def identifier(value: bytes, vr: bytes, character_set: bytes) -> Identifier:
    """Return the text of an identifier as Orthanc hashes it.

    Args:
        value: the bytes in the file.
        vr: the VR in the file, or that of the dictionary where the encoding is implicit.
        character_set: the value of (0008,0005); empty if there is none.
    """
    if vr == b"UI":
        value = value.translate(None, _WHITE_SPACE).partition(b"\0")[0]
    elif vr == b"UN":
        value = value[:-1] if len(value) % 2 == 0 and value.endswith(b"\0") else value
    elif vr in STRING_VRS:
        value = value.rstrip(b" ").partition(b"\0")[0]
    else:  # Orthanc prints numbers, and refuses bytes
        return Identifier(value[:_SHOWN_BYTES].hex(), certain=False)
    text, certain = _by_orthanc(value, character_set)
    return Identifier(text, certain, frozenset() if certain else _readings(value) - {text})


def name_text(value: bytes, character_set: bytes) -> str:
    """Decode a name as the standard says, with code extensions."""
    names = [name for name in _terms(character_set) if name in python_encoding]
    value = value.partition(b"\0")[0].rstrip(b" ")
    if not names or _is_plain(value):  # every character set has ASCII
        return value.decode("latin-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return decode_bytes(value, convert_encodings(names), _DELIMITERS)


def is_plain_name(value: bytes) -> bool:
    """Return whether every program reads a name alike, whatever character set the file declares.

    Of several representations, the first counts, as in `model.identity`.
    """
    return _is_plain(value.partition(b"\0")[0].partition(b"=")[0])


def _is_plain(value: bytes) -> bool:
    """Return whether it is ASCII without control characters, such as those that select a character set."""
    return value.isascii() and value.decode("ascii").isprintable()


def _by_orthanc(value: bytes, character_set: bytes) -> tuple[str, bool]:
    """Return the text, and whether it is certain.

    Without a character set, `DefaultEncoding` of Orthanc's configuration decides, and Orthanc does not report it. Only
    text that every encoding reads alike is certain.
    """
    terms = _terms(character_set)
    term = next(filter(None, terms), "")
    plain = _is_plain(value)
    if plain and _CODECS.get(term) != _JAPANESE:
        text, certain = value.decode("ascii"), True
    elif not term:
        text, certain = value.decode("latin-1"), plain
    elif term not in _CODECS:
        newer = _LATER_TERMS.get(term) or _CODECS_OF_NEWER.get(term.replace("_", " "))
        # Of two readings, the one that loses no letter: people look for a patient by it.
        text, certain = (_converted(value, newer)[0], False) if newer else (_as_ascii(value), True)
    else:
        text, certain = _converted(value, _CODECS[term])
    if len(terms) > 1 and any(character < " " for character in text):
        return _ESCAPE.sub("", text), False
    return text, certain


def _readings(value: bytes) -> frozenset[str]:
    """Return what any Orthanc may make of a value: it drops what it cannot convert."""
    texts = {_converted(value, codec)[0] for codec in _OF_ANY_ORTHANC} | {_as_ascii(value)}
    return frozenset(texts | {_ESCAPE.sub("", text) for text in texts})


def _as_ascii(value: bytes) -> str:
    return "".join(chr(byte) for byte in value if 32 <= byte < 127 or byte == 10)


def _converted(value: bytes, codec: str) -> tuple[str, bool]:
    """Decode as a converter does that drops what it cannot read."""
    text = value.decode(codec, "ignore")
    try:
        value.decode(codec)
    except UnicodeDecodeError:
        return (text.translate(_JIS_ROMAN) if codec == _JAPANESE else text), False
    if codec == _JAPANESE:
        return text.translate(_JIS_ROMAN), _COMMON.fullmatch(text) is not None
    if codec == "euc_kr" and b"\xa4\xd4" in value:
        return text, False  # Korean outside of KS X 1001 takes eight bytes, which only some converters can read
    if codec in _MULTIPLE_BYTE:
        return text, _COMMON.fullmatch(text) is not None
    return text, "\x1b" not in text and not any(0x7F <= ord(character) < 0xA0 for character in text)


@lru_cache(64)
def _terms(character_set: bytes) -> tuple[str, ...]:
    value = character_set.rstrip(b" ").partition(b"\0")[0].decode("latin-1")
    return tuple(term.strip(" \t\n\v\f\r").upper() for term in value.split("\\"))
