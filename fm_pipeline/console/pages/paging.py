"""What an address may say: the number of a page, a text."""

from __future__ import annotations

from django.http import HttpRequest

LAST = 100_000


def page_number(request: HttpRequest) -> int:
    """Return the page that is asked for, from 1; 1 if it is no number."""
    text = request.GET.get("page", "1")
    return min(max(int(text), 1), LAST) if text.isascii() and text.isdigit() and len(text) < 9 else 1


def without_nul(text: str) -> str:
    """Return a text of an address without the character that PostgreSQL takes in no text."""
    return text.replace("\0", "")
