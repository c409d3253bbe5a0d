"""Whether the service does its work: its parts, the database, Dagster's daemon and the code location.

A check asks at most every two seconds, whoever looks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.service.health_check import HealthCheck
from fm_pipeline.console.service.part_states import read_part_states
from fm_pipeline.db.connection import connect
from fm_pipeline.errors import PipelineError

FRESH_SECONDS = 2.0

_lock = threading.Lock()
_checks: Sequence[HealthCheck] = ()
_checked_at = float("-inf")
_dagster: Callable[[], list[HealthCheck]] = list


def use_dagster(checks: Callable[[], list[HealthCheck]]) -> None:
    """Called once, when the site starts.

    Args:
        checks: of what Dagster knows.
    """
    global _dagster  # noqa: PLW0603  # one site a process
    _dagster = checks


def read_health() -> Sequence[HealthCheck]:
    """Return every check."""
    global _checks, _checked_at  # noqa: PLW0603
    with _lock:
        if time.monotonic() - _checked_at > FRESH_SECONDS:
            _checks = [*_part_checks(), _database_check(), *_dagster()]
            _checked_at = time.monotonic()
        return _checks


def _part_checks() -> list[HealthCheck]:
    return [
        HealthCheck(
            state.name,
            state.pid is not None,
            f"It runs as process {state.pid}." if state.pid else f"It ended with {state.exit_code} and starts again.",
        )
        for state in read_part_states(PIPELINE.state_dir)
    ]


def _database_check() -> HealthCheck:
    try:
        with connect(PIPELINE.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except PipelineError as error:
        return HealthCheck("database", ok=False, detail=error.what)
    return HealthCheck("database", ok=True, detail="It answers.")
