"""Values of fields as OData writes them, and terms for the fields that a filter names.

Source: Claris OData API Guide, "Request field value": null for an empty field, ISO dates whatever the file's locale.
A timestamp ends with `Z`, although FileMaker stores wall-clock time. How a text that does not fit
its field's type is written is not documented: here a number field gives the number in the text, the other types null.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fm_pipeline.sandbox.filemaker.data import values
from fm_pipeline.sandbox.filemaker.data.schema import FieldType
from fm_pipeline.sandbox.filemaker.odata.failures import unknown_field
from fm_pipeline.sandbox.filemaker.odata.filters import Term
from fm_pipeline.sandbox.filemaker.odata.sets import StoreEntitySet

ROW_COLUMNS = {"ROWID": "record_id", "ROWMODID": "mod_id"}
EDM_TYPES = {
    "text": "Edm.String",
    "number": "Edm.Decimal",
    "date": "Edm.Date",
    "time": "Edm.TimeOfDay",
    "timestamp": "Edm.DateTimeOffset",
}


def writer(kind: FieldType, exact_numbers: bool) -> Callable[[str], Any]:
    """Return the function that converts a stored text to its JSON value.

    Args:
        exact_numbers: numbers are written as text.
    """
    if kind == "number":
        return _exact if exact_numbers else _number
    if kind == "text":
        return lambda text: text or None
    ending = "Z" if kind == "timestamp" else ""
    return lambda text: None if values.sort_key(kind, text) is None else text + ending


def _number(text: str) -> int | float | None:
    if not text:
        return None
    value = values.number(text)
    if isinstance(value, str):
        part = values.numeric_part(text)
        value = int(part) if part is not None and part.is_integer() else part  # type: ignore[assignment]
    return value  # type: ignore[return-value]


def _exact(text: str) -> str | None:
    value = _number(text)
    return None if value is None else str(value)


def term(entities: StoreEntitySet, name: str) -> Term:
    """Return the term of a field in a filter, of the rows called `r`.

    Raises:
        ServiceError: 8309, there is no such field, or it is a container.
    """
    if name in ROW_COLUMNS:
        return Term(f"r.{ROW_COLUMNS[name]}", (), "number")
    field = entities.field(name)
    if field.type == "container":
        raise unknown_field(name)
    key = f"r.{entities.table.key(field.name)}"
    if field.type == "text":
        return Term(f"nullif(r.{entities.table.column(field.name)}, '')", (), "text", key)
    return Term(key, (), field.type)
