"""Names that are looked up in Nexus: clinics, clinicians, appointment types, funding sources."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, NamedTuple

_AS_BLANK = dict.fromkeys(map(ord, "\u00a0\u2007\u202f\t"), " ")  # no-break spaces
_AS_APOSTROPHE = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\uff07"), "'")
_SAME = _AS_BLANK | _AS_APOSTROPHE
_BLANKS = re.compile(" +")


class Found(NamedTuple):
    """What a look-up found: the Nexus id, or why there is none."""

    id: str | None
    fault: Literal["unknown", "ambiguous"] | None = None


UNKNOWN = Found(None, "unknown")
AMBIGUOUS = Found(None, "ambiguous")


@lru_cache(maxsize=4096)  # a clinic has a few dozen names and writes them on every record
def normalise_name(name: str) -> str:
    """A name as it is compared: NFC, case folded, blanks and apostrophes of one kind, trimmed."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return _BLANKS.sub(" ", folded.translate(_SAME)).strip()


class NameIndex:
    """Rows of a Nexus table by their names.

    Args:
        rows: Nexus id and name of each row.
    """

    def __init__(self, rows: Iterable[tuple[str, str]]) -> None:
        self._found: dict[str, Found] = {}
        for nexus_id, name in rows:
            key = normalise_name(name)
            self._found[key] = AMBIGUOUS if key in self._found else Found(nexus_id)

    def find(self, name: str) -> Found:
        """The one row of that name; two rows are ambiguous, none is unknown."""
        return self._found.get(normalise_name(name), UNKNOWN)
