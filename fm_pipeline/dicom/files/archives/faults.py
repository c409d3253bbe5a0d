"""Errors of an archive and of a single member."""

from __future__ import annotations


class ArchiveFault(Exception):
    """The archive cannot be read. `reason` is an id of `reasons.ARCHIVES`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class MemberFault(Exception):
    """One member cannot be read; others may be good. `reason` is an id of `reasons.ARCHIVES`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
