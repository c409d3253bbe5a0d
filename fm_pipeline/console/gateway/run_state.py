"""A run of Dagster as pages show it. `gateway.runs` reads it; pages import this module, which imports no Dagster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Literal

Status = Literal["queued", "running", "cancelling", "done", "failed", "cancelled"]
Level = Literal["info", "warning", "error"]
UNFINISHED: frozenset[Status] = frozenset({"queued", "running", "cancelling"})
_HAS_TIME = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] ")
_MARKS: Mapping[Level, str] = {"warning": "⚠️ ", "error": "❌ ", "info": ""}


@dataclass(frozen=True)
class RunState:
    """One run.

    Attributes:
        started_at: None while it is queued, and if it ended there.
        config: its run config.
    """

    run_id: str
    job: str
    status: Status
    started_at: datetime | None
    ended_at: datetime | None
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unfinished(self) -> bool:
        """Whether it is queued or runs."""
        return self.status in UNFINISHED


@dataclass(frozen=True)
class RunLog:
    """What a run has said.

    Attributes:
        newest: the number of its newest event; another one means that there is more.
        lines: the oldest first.
        is_whole: whether nothing is left out at the beginning.
    """

    newest: int
    lines: list[LogLine]
    is_whole: bool


@dataclass(frozen=True)
class LogLine:
    """A message of a run. Runs log counts and ids, no patient data."""

    at: datetime
    level: Level
    text: str

    def shown(self, zone: tzinfo) -> str:
        """Return the line as `[2025-11-14 10:00:25] Phase 2: ✅ Deleted 2,842 patients`."""
        if _HAS_TIME.match(self.text):
            return self.text
        return f"[{self.at.astimezone(zone):%Y-%m-%d %H:%M:%S}] {_MARKS[self.level]}{self.text}"
