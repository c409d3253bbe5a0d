"""One line of the health of the service. Here no setting is read, so the gateway's checks need no database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HealthCheck:
    """One thing that must be well.

    Attributes:
        name: of a part, or of what is asked.
        ok: whether it is.
        detail: a sentence for people who are logged in.
    """

    name: str
    ok: bool
    detail: str
