"""Counts in sentences: one file is not `1 files`."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """A number and its word: `1 file`, `0 files`, `1,204 files`.

    Args:
        one: the word for one.
        many: for any other number; with an s if it is not given.
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def rows_changed(rows: int) -> str:
    """What a run has done to Nexus, as a part of a sentence: also one that had nothing to change has done its work."""
    return f"{counted(rows, 'row')} of Nexus changed" if rows else "no row of Nexus had to be changed"


def page(offset: int, shown: int, total: int, one: str, many: str = "") -> str:
    """Which part of a list is shown, as a sentence.

    Args:
        offset: how many were passed over.
        shown: how many are shown.
        total: how many there are.
        one, many: as for `counted`.
    """
    all_of_them = counted(total, one, many)
    if not total:
        return f"There are no {many or one + 's'}."
    if not shown:
        there = f"there {'is' if total == 1 else 'are'} {all_of_them}"
        return f"None is shown: {there}, and {counted(offset, 'was', 'were')} passed over."
    if shown == 1:
        return f"Number {offset + 1:,} of {all_of_them}."
    return f"{offset + 1:,} to {offset + shown:,} of {all_of_them}."
