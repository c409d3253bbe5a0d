"""The audit trail: filters, pages, and a CSV for administrators."""

from __future__ import annotations

from typing import get_args
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe

from fm_pipeline.console.accounts.middleware import admins_only
from fm_pipeline.console.audit import note
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.downloads import csv_download
from fm_pipeline.console.pages.paging import page_number
from fm_pipeline.db.audit import AuditAction, AuditOutcome
from fm_pipeline.status.audit_trail import COLUMNS, AuditFilter, iterate_audit, read_actors, read_audit

_URL, _ZONE = PIPELINE.nexus_database_url.get_secret_value(), PIPELINE.clinic_time_zone


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show a page of the rows that the filter leaves."""
    wanted, number = AuditFilter.of(request.GET.dict()), page_number(request)
    rows, more = read_audit(_URL, wanted, number, _ZONE)
    context = {
        "rows": rows,
        "wanted": wanted,
        "actors": read_actors(_URL),
        "actions": get_args(AuditAction),
        "outcomes": get_args(AuditOutcome),
        "query": urlencode({name: value for name, value in vars(wanted).items() if value}),
        "number": number,
        "more": more,
    }
    return render(request, "console/audit.html", context)


@admins_only
@require_safe
def download(request: HttpRequest) -> StreamingHttpResponse:
    """Send the rows that the filter leaves as CSV."""
    wanted = AuditFilter.of(request.GET.dict())
    chosen = ", ".join(name for name, value in vars(wanted).items() if value)
    note(request, "download", "done", f"CSV of the audit trail (filter: {chosen or 'none'}).")
    return csv_download("audit.csv", COLUMNS, iterate_audit(_URL, wanted, _ZONE))


urlpatterns = [
    path("", page, name="audit"),
    path("csv", download, name="audit-csv"),
]
