"""How FileMaker compares text in a find: words that begin with, wildcards, phrases, whole words, whole fields.

Source: FileMaker Pro Help, "Finding text" (help.claris.com). Without operator, each word of the request has to begin
a word of the field, in any order; a word with a wildcard has to fit a word up to its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

_WORD_CHARACTER = r"[^\W_]"
_WORD_START = rf"(?<!{_WORD_CHARACTER})"
_WORD_END = rf"(?!{_WORD_CHARACTER})"
# Punctuation separates words, so that "joey@abc.net" does not find that address; "joey\@abc.net" does.
_WILDCARDS = {"*": r"\S*", "@": _WORD_CHARACTER, "#": r"\d"}


def matches(pattern: str, text: str) -> bool:
    """Return whether the text matches the pattern, ignoring case. SQLite calls it for each record."""
    return _compiled(pattern).search(text) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def literal(text: str) -> str | None:
    """Return the plain text of a find request, or None if it contains a wildcard."""
    parts = list(_elements(text))
    if any(is_wildcard for _, is_wildcard, _ in parts):
        return None
    return "".join(character for character, _, _ in parts)


def whole_field(text: str) -> str:
    """Return the pattern for `==text`: the whole content of the field, wildcards allowed."""
    wide = {"*": ".*", "@": ".", "#": r"\d"}
    body = "".join(wide[c] if is_wildcard else re.escape(c) for c, is_wildcard, _ in _elements(text))
    return rf"\A{body}\Z"


def words(text: str, *, whole: bool) -> list[str]:
    """Return one pattern for each word or quoted phrase of the request; all have to match.

    Args:
        text: the request, without its operator.
        whole: `=text`, the words must also end where a word of the field ends.
    """
    tokens: list[list[tuple[str, bool]]] = [[]]
    for character, is_wildcard, is_quoted in _elements(text):
        if character.isspace() and not is_quoted:
            tokens.append([])
        else:
            tokens[-1].append((character, is_wildcard))
    return [_word(token, whole=whole) for token in tokens if token]


def _word(token: list[tuple[str, bool]], *, whole: bool) -> str:
    body = "".join(_WILDCARDS[c] if is_wildcard else re.escape(c) for c, is_wildcard in token)
    first, last = token[0], token[-1]
    has_wildcard = any(is_wildcard for _, is_wildcard in token)
    start = _WORD_START if first != ("*", True) and (first[1] or first[0].isalnum()) else ""
    end = _WORD_END if (whole or has_wildcard) and last != ("*", True) else ""
    return start + body + end


def _elements(text: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield every character, with whether it is a wildcard and whether it is quoted. A backslash escapes the next."""
    quoted = escaped = False
    for character in text:
        if escaped:
            yield character, False, True
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        else:
            yield character, character in _WILDCARDS and not quoted, quoted
