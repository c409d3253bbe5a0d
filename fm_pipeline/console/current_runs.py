"""The one `Runs` of this process, for pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fm_pipeline.console.gateway.runs import Runs

_runs: Runs


def use(runs: Runs) -> None:
    """Called once, when the site starts."""
    global _runs  # noqa: PLW0603  # one site a process
    _runs = runs


def runs() -> Runs:
    """Return it."""
    return _runs
