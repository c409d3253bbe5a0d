"""Detect the character set of an export by its byte order mark or its bytes, or use the given one.

Source: Claris help, "Exporting records": the character sets that FileMaker Pro offers for text files. A byte order
mark, UTF-8 and UTF-16 can be detected with certainty. Windows-1252 and MacRoman are accepted if the decoded text reads
like a language of Western Europe. Every other character set must be named. A general detector (charset-normalizer 3.5)
took Shift-JIS for Korean and MacRoman for Greek, because the exports have little text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from fm_pipeline.filemaker.exports.errors import CharacterSetUnknown

Encoding = Literal[
    "utf-8", "utf-16-le", "utf-16-be", "windows-1252", "macroman", "shift-jis", "gb18030", "big5", "euc-kr",
    "windows-1250", "windows-1251", "windows-1253", "windows-1254", "mac-ce", "mac-cyrillic", "dos-437", "dos-850",
]  # fmt: skip
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
# Where Python has another name, or a smaller set than FileMaker and Windows.
_CODECS: Mapping[Encoding, str] = {
    "windows-1252": "cp1252",
    "macroman": "mac_roman",
    "shift-jis": "cp932",
    "big5": "cp950",
    "euc-kr": "cp949",
    "windows-1250": "cp1250",
    "windows-1251": "cp1251",
    "windows-1253": "cp1253",
    "windows-1254": "cp1254",
    "mac-ce": "mac_latin2",
    "mac-cyrillic": "mac_cyrillic",
    "dos-437": "cp437",
    "dos-850": "cp850",
}
_BOMS: tuple[tuple[bytes, Encoding], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 4096  # bytes; in UTF-16 every second byte of Latin text is NUL
_ODD = 0.1  # maximum share of implausible characters among those beyond ASCII
# What people write who do not write English only: what else a wrong guess makes of it (Ž, Õ, ‰) is rare.
_CAPITALS = "ÉÈÊÀÁÂÃÄÅÆÇÍÑÓÔÕÖØÚÜ"
_SMALL = "éèêëàâäáãåæçíìîïñóòôöõøœßúùûüýÿ"
_LETTERS = _CAPITALS + _SMALL
_LIKELY = _LETTERS + "‘’“”–—…•°£€©®²³½¡¿«»ºª±×µ¼¾§\N{NO-BREAK SPACE}"
# Of what is likely by itself, where it does not stand: `ÈtÈ`, `âE`, `ni–o`, `a“b`, `m¾b`, and words of accents only.
_OUT_OF_PLACE = re.compile(
    rf"(?<=[a-z{_SMALL}])[{_CAPITALS}]|[{_SMALL}](?=[A-Z{_CAPITALS}])|(?<=[a-z])[–—](?=[a-z])"
    rf"|(?<=[a-zA-Z])[‘“•](?=[a-z])|(?<=[a-zA-Z0-9])[¡¿]|[³²½€©®…](?=[a-z{_SMALL}¿])|œ(?=[bcfghj-nprvwz])|[‘“”][«»]"
    rf"|[±×µ¼¾§](?=[{_LETTERS}])|(?<=[a-zA-Z{_LETTERS}])[±×§¼½¾]|(?<=[{_LETTERS}])[²³£€©®°]"
    rf"|[{_LETTERS}]{{3,}}|(?<![a-zA-Z{_LETTERS}])[{_LETTERS}]{{2}}(?![a-zA-Z])"
)
_UNLIKELY = re.compile(rf"[^\x00-\x7f{_LIKELY}]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_WESTERN: tuple[Encoding, ...] = ("windows-1252", "macroman")
_NAME_IT = (
    "Export it again as Unicode (UTF-8), or name the character set that was chosen in FileMaker as `encoding` in the"
    f" mapping profile: {', '.join(ENCODINGS)}."
)


class _DecodedAs(NamedTuple):
    """What an encoding makes of the bytes: how many characters beyond ASCII there are, and how many are odd."""

    odd: int
    characters: int
    encoding: Encoding


def decode(data: bytes, forced: Encoding | None = None) -> tuple[str, Encoding]:
    """Return the text without a byte order mark, and the encoding.

    Args:
        forced: the encoding, if it is known; otherwise it is detected.

    Raises:
        CharacterSetUnknown: the bytes are not text in the forced encoding, or the encoding cannot be detected.
    """
    encoding, mark = detect(data, forced)
    try:
        return data[mark:].decode(codec_of(encoding)), encoding
    except UnicodeDecodeError as error:
        raise not_text(encoding, f"byte {error.start + 1}") from None


def detect(data: bytes, forced: Encoding | None = None, *, is_cut: bool = False) -> tuple[Encoding, int]:
    """Return the encoding, and the number of bytes of the byte order mark.

    Args:
        data: a file, or its beginning.
        forced: the encoding, if it is known; otherwise it is detected.
        is_cut: `data` may end within a character.

    Raises:
        CharacterSetUnknown: the encoding cannot be detected.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark) and forced in {None, encoding}:
            return encoding, len(mark)
    return forced or _without_mark(data, is_cut=is_cut), 0


def codec_of(encoding: Encoding) -> str:
    """Return the name that Python has for an encoding."""
    return _CODECS.get(encoding, encoding)


def not_text(encoding: Encoding, place: str) -> CharacterSetUnknown:
    """Return the error for a byte that is no character; `place` says where it is."""
    return CharacterSetUnknown(
        f"The export is not text in {encoding}: {place} does not fit.",
        meaning="Nothing was read from it.",
        remedy=_NAME_IT,
    )


def _without_mark(data: bytes, *, is_cut: bool) -> Encoding:
    sample = data[:_SAMPLE]
    if len(sample) > 1:
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        if max(even, odd) > len(sample) // 8:  # Latin text: nearly half of its bytes, all on one side
            return "utf-16-be" if even > odd else "utf-16-le"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=not is_cut)
    except UnicodeDecodeError:
        return _of_western_europe(data)
    return "utf-8"


def _of_western_europe(data: bytes) -> Encoding:
    readings = [each for encoding in _WESTERN if (each := _decode_as(data, encoding))]
    best = min(readings, key=lambda each: each.odd)
    if best.odd > _ODD * best.characters:
        raise CharacterSetUnknown(
            "Which character set the export is written in cannot be told: it is not Unicode, and read as"
            f" {best.encoding}, {best.odd:,} of its {best.characters:,} characters beyond ASCII make no sense.",
            meaning="A wrong guess would spoil its texts, so nothing was read.",
            remedy=_NAME_IT,
        )
    return best.encoding


def _decode_as(data: bytes, encoding: Encoding) -> _DecodedAs | None:
    try:
        text = data.decode(_CODECS[encoding])
    except UnicodeDecodeError:  # five bytes are no characters of Windows-1252, and é, è and ê among them in MacRoman
        return None
    odd = len(_UNLIKELY.findall(text)) + sum(map(len, _OUT_OF_PLACE.findall(text)))
    return _DecodedAs(odd, len(_BEYOND_ASCII.findall(text)), encoding)
