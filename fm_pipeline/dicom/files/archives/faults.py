"""Why an archive, or a file in one, cannot be read."""

from __future__ import annotations


class ArchiveFault(Exception):
    """The archive as a whole; `reason` is an id of `reasons.ARCHIVES`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class MemberFault(Exception):
    """One file in it; the others may be good. `reason` is an id of `reasons.ARCHIVES`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
