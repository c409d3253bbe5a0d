"""Names of tables, entities and outcomes, as a reader writes them."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def words(name: object) -> str:
    """Return `sms_messages` as "sms messages"."""
    return str(name).replace("_", " ")
