"""Contact details: many records of a patient become the patient's `contact_json` and `address_json`.

Source: docs/mapping.md, "Contact details"; shared shapes of the JSON columns there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fm_pipeline.staging.record import Record
from fm_pipeline.staging.values.choices import read_boolean

Address = dict[str, object]

_VALUE_KINDS = ("phone", "mobile", "email")
_ADDRESS_FIELDS = ("street", "street2", "suburb", "state", "postcode")


@dataclass(frozen=True, slots=True)
class ContactDetail:
    """One contact detail that is worth keeping."""

    kind: str
    label: str
    default: bool
    value: str = ""
    address: dict[str, str] = field(default_factory=dict)


def transform_contact(record: Record) -> ContactDetail | None:
    """The contact detail of a record; None when its kind is unknown or it has no value."""
    kind = record.line("kind").lower()
    label = record.line("label").lower() or kind
    default = record.choice("is_default", read_boolean)
    if kind in _VALUE_KINDS:
        value = record.line(kind)
        if value:
            return ContactDetail(kind, label, default, value=value)
        record.notice("contact_detail_empty")
    elif kind == "address":
        address = {name: record.line(name) for name in _ADDRESS_FIELDS}
        if any(address.values()):
            return ContactDetail(kind, label, default, address=address)
        record.notice("contact_detail_empty")
    else:
        record.notice("contact_kind_unknown", "kind")
    return None


def contact_json(details: Iterable[ContactDetail]) -> dict[str, dict[str, dict[str, object]]]:
    """Phones, mobiles and emails by kind and label; details come in the order of record ids."""
    contacts: dict[str, dict[str, dict[str, object]]] = {}
    for detail in details:
        if detail.kind in _VALUE_KINDS:
            labels = contacts.setdefault(detail.kind, {})
            labels[_free(detail.label, labels)] = {"value": detail.value, "default": detail.default}
    return contacts


def addresses(details: Iterable[ContactDetail]) -> tuple[Address | None, list[Address]]:
    """The patient's address (the default one, else the one of the lowest record id), and any others."""
    found: list[Address] = [
        {**detail.address, "type": detail.label, "default": detail.default}
        for detail in details
        if detail.kind == "address"
    ]
    own = next((n for n, address in enumerate(found) if address["default"]), 0)
    return (found.pop(own) if found else None), found


def _free(label: str, taken: dict[str, dict[str, object]]) -> str:
    """The label, or the label with the first number from 2 on that nobody has."""
    name, number = label, 1
    while name in taken:
        number += 1
        name = f"{label} {number}"
    return name
