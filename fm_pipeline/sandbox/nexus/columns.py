"""The tables and columns of the reference Nexus, parsed from `schema.sql`."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_TABLE = re.compile(r"^CREATE TABLE (\w+) \(\n(.*?)^\);", re.MULTILINE | re.DOTALL)
_COLUMN = re.compile(r'^    "?([a-z]\w*)"? ([a-z]+)', re.MULTILINE)


@cache
def nexus_columns() -> dict[str, dict[str, str]]:
    """Return the columns of each table with the first word of their type; tables in an order for loading."""
    text = files("fm_pipeline.sandbox.nexus").joinpath("schema.sql").read_text(encoding="utf-8")
    return {table: dict(_COLUMN.findall(body)) for table, body in _TABLE.findall(text)}
