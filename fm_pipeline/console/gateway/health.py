"""What Dagster knows of the service: the daemon's heartbeats, the code location, and how many runs there are."""

from __future__ import annotations

import time

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from fm_pipeline.console.gateway.context import ConsoleProcessContext
from fm_pipeline.console.service.health_check import HealthCheck
from fm_pipeline.errors import unforeseen

HEARTBEAT_SECONDS = 120.0  # Dagster sends one every 30 s
ACTIVE = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def dagster_checks(context: ConsoleProcessContext) -> list[HealthCheck]:
    """Return the checks of the daemon and of the code location."""
    try:
        heartbeat = _heartbeat_check(context)
    except SQLAlchemyError as fault:
        heartbeat = HealthCheck("daemon heartbeat", ok=False, detail=f"Dagster's history: {unforeseen(fault)}")
    return [heartbeat, _location_check(context)]


def active_runs(context: ConsoleProcessContext) -> dict[str, int]:
    """Return how many runs wait, start, run or are being cancelled."""
    return {
        status.value.lower(): context.instance.get_runs_count(dg.RunsFilter(statuses=[status])) for status in ACTIVE
    }


def _heartbeat_check(context: ConsoleProcessContext) -> HealthCheck:
    heartbeats = context.instance.get_daemon_heartbeats()
    now = time.time()
    late = sorted(
        kind
        for kind in context.instance.get_required_daemon_types()
        if kind not in heartbeats or now - heartbeats[kind].timestamp > HEARTBEAT_SECONDS
    )
    detail = (
        f"No heartbeat for {HEARTBEAT_SECONDS:.0f} s: {', '.join(late)}." if late else "Every daemon has a heartbeat."
    )
    return HealthCheck("daemon heartbeat", ok=not late, detail=detail)


def _location_check(context: ConsoleProcessContext) -> HealthCheck:
    entries = context.get_current_workspace().code_location_entries
    failed = [name for name, entry in entries.items() if entry.code_location is None or entry.load_error]
    ok = bool(entries) and not failed
    return HealthCheck(
        "code location", ok, "It is loaded." if ok else "It is not loaded; Dagster's page Deployment says why."
    )
