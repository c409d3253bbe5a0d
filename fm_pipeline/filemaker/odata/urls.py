"""URLs of OData, finished by hand.

FileMaker Server takes a query as it stands: many servers do not recognise `%24top` as `$top` and ignore it. Libraries
that encode a query themselves send just that, and `+` for a space, which FileMaker refuses. So `$`, `,`, `(` and `)`
stay literal here, and everything else is percent-encoded.

Servers and proxies refuse long URLs, so the fields of a wide table are asked for in parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, urljoin, urlsplit

from fm_pipeline.filemaker.model import Field

ROW_ID = "ROWID"  # FileMaker's record id
ROW_MOD_ID = "ROWMODID"  # its modification count; both come only if they are selected
LONGEST_URL = 2000  # characters (OData API Guide, "Write OData API calls")
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def table_forms(name: str) -> list[str]:
    """Return the path of a table occurrence in the forms to try: a name that is no plain word first in quotes."""
    if _PLAIN_NAME.fullmatch(name):
        return [name]
    return [quoted(name), quote(name, safe="")]


def quoted(name: str) -> str:
    """Return a name in double quotes, encoded. FileMaker accepts every name so, also reserved words such as `id`."""
    return quote('"' + name.replace('"', '""') + '"', safe="")


def selection(fields: Iterable[str]) -> str:
    """Return `$select` for fields, with ids of record and modification."""
    return "$select=" + ",".join([*map(quoted, fields), ROW_ID, ROW_MOD_ID])


def in_parts(fields: Sequence[Field], room: int) -> list[Sequence[Field]]:
    """Return the fields in parts, each of which has a `selection` of at most `room` characters, or is one field."""
    parts: list[Sequence[Field]] = []
    start, free = 0, room - len(selection([]))
    left = free
    for place, field in enumerate(fields):
        left -= len(quoted(field.name)) + 1
        if left < 0 and place > start:
            parts.append(fields[start:place])
            start, left = place, free - len(quoted(field.name)) - 1
    return [*parts, fields[start:]]


def rows_after(last: int, limit: int) -> str:
    """Return the options for the next rows by record id."""
    return f"$filter={ROW_ID}%20gt%20{last:d}&$orderby={ROW_ID}%20asc&$top={limit:d}"


def is_within(link: str, request: str, service: str) -> bool:
    """Tell whether a link, absolute or relative to the request, stays below the service's address."""
    try:
        there, ours = urlsplit(urljoin(request, link)), urlsplit(service)
    except ValueError:
        return False
    same = (there.scheme, there.netloc) == (ours.scheme, ours.netloc)
    return same and there.path.startswith(f"{ours.path}/") and "/../" not in there.path
