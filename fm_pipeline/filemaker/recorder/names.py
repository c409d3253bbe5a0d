"""Names in a recording: those of the interface and of the shipped profiles stay, the clinic's own are replaced."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

from fm_pipeline.filemaker.recorder.vocabulary import ANNOTATIONS, KEYS

_ANNOTATED = re.compile(r"(?P<name>.*)@(?P<long>odata\.)?(?P<what>[A-Za-z]+)", re.DOTALL)
_REPETITION = re.compile(r"(?P<name>.+)(?P<number>\(\d{1,3}\))", re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")


class Names:
    """Replaces names, the same one always by the same word.

    Args:
        kept: names that stay, those of the shipped profiles.
        keep_all: the clinic's names stay too.
    """

    def __init__(self, kept: Collection[str], *, keep_all: bool = False) -> None:
        self._kept = frozenset(kept)
        self.keep_all = keep_all
        self._replaced: dict[str, str] = {}
        self._counted: dict[str, int] = {}

    def of(self, kind: Literal["layout", "table", "field"], name: str) -> str:
        """Return what stands for a name: `field 1`, or `field_1` for a name that is a plain word."""
        if (self.keep_all and _PRINTABLE.fullmatch(name)) or name in self._kept:
            return name
        occurrence, separator, rest = name.partition("::")
        if separator:
            return f"{self.of('table', occurrence)}::{self.of(kind, rest)}"
        if found := _REPETITION.fullmatch(name):
            return self.of(kind, found["name"]) + found["number"]
        if name not in self._replaced:
            number = self._counted[kind] = self._counted.get(kind, 0) + 1
            self._replaced[name] = f"{kind}_{number}" if _PLAIN.fullmatch(name) else f"{kind} {number}"
        return self._replaced[name]

    def of_key(self, key: str) -> str:
        """Return what stands for a key of a JSON object."""
        if key in KEYS:
            return key
        if (found := _ANNOTATED.fullmatch(key)) and found["what"] in ANNOTATIONS:
            name = self.of_key(found["name"]) if found["name"] else ""
            return f"{name}@{found['long'] or ''}{found['what']}"
        return self.of("field", key)
