"""The parts of a URL of the OData service: file, entity set, key, what follows it; and the query options.

Source: Claris OData API Guide, "Write OData API calls", and what published clients send.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from fm_pipeline.sandbox.filemaker.odata.failures import syntax

ROOT = "/fmi/odata/v4"
_QUOTED = re.compile(r"(?:%22|\")(.*?)(?:%22|\")")
_BARE = re.compile(r"[^/(]+")
# A text key may hold a slash, and an apostrophe that is not doubled; so it is read to the last `')`.
_KEY = re.compile(r"\(((?:'|%27).*(?:'|%27))\)|\(([^)]*)\)")
_OPTIONS = frozenset(("count", "expand", "filter", "format", "orderby", "select", "skip", "skiptoken", "top"))


@dataclass(frozen=True)
class ResourcePath:
    """A path below the service, decoded.

    Args:
        database: the file as the URL spells it, "" for the service itself.
        resource: entity set, `$metadata`, `Script.name`, or "" for the file itself.
        quoted: the resource was written in double quotes.
        key: the text between the parentheses, or None.
        rest: what follows, part by part, without double quotes.
    """

    database: str = ""
    resource: str = ""
    quoted: bool = False
    key: str | None = None
    rest: tuple[str, ...] = ()


def parse_path(raw_path: str) -> ResourcePath:
    """Return the parts of a path, still encoded, that begins with the service's root. Raises ServiceError -1002."""
    database, _, below = raw_path.removeprefix(ROOT).strip("/").partition("/")
    if not below:
        name = unquote(database)
        return ResourcePath(resource=name) if name.startswith("$") else ResourcePath(name)
    found = _QUOTED.match(below) or _BARE.match(below)
    if found is None:
        raise syntax(unquote(below))
    quoted = found.re is _QUOTED
    name, left = unquote(found[1] if quoted else found[0]), below[found.end() :]
    key = _KEY.match(left)
    if key is not None:
        left = left[key.end() :]
    if left and not left.startswith("/"):
        raise syntax(unquote(left))
    rest = tuple(unquote(part).strip('"') for part in left.split("/")[1:])
    text = None if key is None else unquote(key[1] if key[1] is not None else key[2])
    return ResourcePath(unquote(database), name, quoted, text, rest)


def parse_options(query: str, encoded: str) -> Mapping[str, str]:
    """Return the query options by name without `$`.

    Args:
        query: what follows the `?`, not decoded.
        encoded: how an option whose `$` is encoded is taken: `read`, `ignore` or `refuse`.

    Raises:
        ServiceError: -1002 for an unknown option, and for a `+` in place of a space.
    """
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        raw, _, value = part.partition("=")
        name = unquote(raw).lower()
        if raw.startswith("%24") and encoded != "read":
            if encoded == "refuse":
                raise syntax(raw)
            continue
        if name.removeprefix("$") not in _OPTIONS:
            if name.startswith("$"):
                raise syntax(name)
            continue
        if "+" in value:
            raise syntax(unquote(value))
        options[name.removeprefix("$")] = unquote(value)
    return options
