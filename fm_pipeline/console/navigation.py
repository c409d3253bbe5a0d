"""The pages of the menu, in their order. Dagster's link is the last one; `base.html` adds it."""

from __future__ import annotations

from django.urls import reverse

PAGES = [
    # (label, name of the URL)
    ("Data management", "data-management"),
    ("Sync", "sync"),
    ("History", "history"),
    ("Not loaded", "quarantine"),
    ("Backups", "backups"),
    ("Images", "images"),
    ("DICOM", "dicom"),
    ("Maintenance", "maintenance"),
    ("Audit", "audit"),
    ("Service", "service"),
]


def menu(path: str) -> list[tuple[str, str, bool]]:
    """Return label, address, and whether a path is of this page or of one below it."""
    links = [(label, reverse(name)) for label, name in PAGES]
    below = [address for _, address in links if f"{path}/".startswith(f"{address.rstrip('/')}/")]
    current = max(below, key=len, default=None)
    return [(label, address, address == current) for label, address in links]
