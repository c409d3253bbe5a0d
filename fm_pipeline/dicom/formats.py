"""Sizes, times and durations as text, in the format of the hospital's own system ("512.00 KB", "5 minutes")."""

from __future__ import annotations

from datetime import datetime, tzinfo

_UNITS = ("KB", "MB", "GB", "TB", "PB")


def size_formatted(size: int) -> str:
    """Return a size in units of 1,024 with two decimals: `2.00 GB`; below 1 KB in bytes: `500 B`."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in _UNITS:
        value /= 1024
        if round(value, 2) < 1024 or unit == _UNITS[-1]:
            break
    return f"{value:.2f} {unit}"


def duration_formatted(seconds: float) -> str:
    """Return a duration in one suitable unit: `40 seconds`, `5 minutes`, `3 hours`, `2 days`."""
    for unit, length, until in (("second", 1, 100), ("minute", 60, 100 * 60), ("hour", 3600, 48 * 3600)):
        if seconds < until:
            return _counted(round(seconds / length), unit)
    return _counted(round(seconds / 86_400), "day")


def time_formatted(at: datetime | None, zone: tzinfo) -> str | None:
    """Return a time as `2025-11-22 10:30:00` in a time zone; None for None."""
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}" if at else None


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
