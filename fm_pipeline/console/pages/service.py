"""The state of the service: for a probe, for people, and for Prometheus."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from fm_pipeline.console.accounts.middleware import open_to_all
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.service.health import read_health
from fm_pipeline.console.service.metrics import exposition
from fm_pipeline.console.service.part_states import read_part_states


@open_to_all
def health(_request: HttpRequest) -> HttpResponse:
    """Say `ok` or `degraded`, and nothing else: a probe has no account."""
    ok = all(check.ok for check in read_health())
    return JsonResponse({"status": "ok" if ok else "degraded"}, status=200 if ok else 503)


def page(request: HttpRequest) -> HttpResponse:
    """Show every check, and the starts of each part."""
    parts = [
        (part, datetime.fromtimestamp(part.started_at, UTC) if part.started_at else None)
        for part in read_part_states(PIPELINE.state_dir)
    ]
    checks = read_health()
    values = {"checks": checks, "parts": parts, "ok": all(check.ok for check in checks)}
    return render(request, "console/service.html", values)


def metrics(_request: HttpRequest) -> HttpResponse:
    """Return the numbers in Prometheus' format."""
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)
