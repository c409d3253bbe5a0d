"""The numbers of the service in Prometheus' format; counts, times and states, and no patient data.

https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.service.health import read_health
from fm_pipeline.console.service.part_states import read_part_states
from fm_pipeline.errors import DatabaseError
from fm_pipeline.status.measurements import Measurements, read_measurements

_active_runs: Callable[[], Mapping[str, int]] = dict


def use_runs(active_runs: Callable[[], Mapping[str, int]]) -> None:
    """Called once, when the site starts.

    Args:
        active_runs: how many runs of Dagster there are, by status.
    """
    global _active_runs  # noqa: PLW0603  # one site a process
    _active_runs = active_runs


def exposition() -> bytes:
    """Return all numbers of this moment. Without the database, those that need it are left out."""
    registry = CollectorRegistry()
    registry.register(_Service())
    return generate_latest(registry)


class _Service:
    """Collects when it is asked."""

    def collect(self) -> Iterable[Metric]:
        yield from _checks_and_parts()
        yield _gauge("runs", "Runs of Dagster that wait, start, run or are being cancelled.", "status", _active_runs())
        try:
            found = read_measurements(PIPELINE.nexus_database_url.get_secret_value())
        except DatabaseError:
            return
        yield from _work(found)


def _checks_and_parts() -> Iterable[Metric]:
    checks = {check.name: int(check.ok) for check in read_health()}
    yield _gauge("up", "Whether a part of the service, or what it needs, is healthy.", "check", checks)
    restarts = CounterMetricFamily("fm_pipeline_part_restarts", "Starts of a part after it had died.", labels=["part"])
    starts = {}
    for part in read_part_states(PIPELINE.state_dir):
        restarts.add_metric([part.name], part.restarts)
        starts[part.name] = part.started_at or 0
    yield restarts
    yield _gauge("part_start_time_seconds", "When a part was started last, in Unix time.", "part", starts)


def _work(found: Measurements) -> Iterable[Metric]:
    times = {"reimport": found.last_reimport, "plan": found.last_plan, "backup": found.last_backup}
    last = {what: moment.timestamp() for what, moment in times.items() if moment}
    yield _gauge("last_timestamp_seconds", "When the last one was made, in Unix time.", "what", last)
    rows = GaugeMetricFamily("fm_pipeline_last_reimport_changed_rows", "Rows of Nexus that it changed.")
    rows.add_metric([], found.last_reimport_rows)
    yield rows
    yield _gauge("dicom_jobs", "Import jobs.", "status", found.dicom_jobs)
    yield _gauge("quarantined_rows", "Source rows that are kept out, as last staged.", "entity", found.quarantined)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"fm_pipeline_{name}", text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
