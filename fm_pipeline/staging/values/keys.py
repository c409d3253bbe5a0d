"""Keys: how ids are compared, which of them are uuids, and the Nexus id that a new FileMaker record gets."""

from __future__ import annotations

import hashlib
import re
import uuid
from functools import cache

from fm_pipeline.staging.values.text import plain_text

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def as_key(value: object) -> str:
    """A FileMaker id as it is compared: trimmed and in lower case; `''` when it is empty."""
    text, _ = plain_text(value)
    return text.strip().lower()


def is_uuid(key: str) -> bool:
    """Whether a key is a uuid in its usual spelling, 8-4-4-4-12."""
    return _UUID.fullmatch(key) is not None


def new_nexus_id(entity: str, key: str) -> str:
    """The id of a record that Nexus does not have yet: the same in every run (docs/mapping.md, "Columns")."""
    # uuid.uuid5(namespace, key), in a third of its time: RFC 9562, section 5.5.
    name = hashlib.sha1(_namespace(entity) + key.encode(), usedforsecurity=False).hexdigest()
    return f"{name[:8]}-{name[8:12]}-5{name[13:16]}-{_VARIANT[name[16]]}{name[17:20]}-{name[20:32]}"


@cache
def _namespace(entity: str) -> bytes:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"https://fm-pipeline.example/{entity}").bytes
