"""The records that were not loaded: counts, a list with filters, one record, a CSV. Ids and counts.

The name of a record's person is shown to an administrator who asks for it, if CONSOLE_SHOW_NAMES is on, and audited.
"""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST, require_safe

from fm_pipeline.console.accounts.middleware import admins_only
from fm_pipeline.console.audit import note
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.downloads import csv_download
from fm_pipeline.console.pages.paging import page_number, without_nul
from fm_pipeline.errors import RequestError
from fm_pipeline.status.quarantine import (
    CSV_COLUMNS,
    QuarantineFilter,
    count_quarantined,
    iterate_quarantine,
    read_clinics,
    read_person,
    read_quarantine,
    read_record,
)

_URL = PIPELINE.nexus_database_url.get_secret_value()


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """Show the counts, and a page of the records that the filter leaves."""
    wanted, number = QuarantineFilter.of(request.GET.dict()), page_number(request)
    counts = count_quarantined(_URL)
    records, more = read_quarantine(_URL, wanted, number)
    context = {
        "counts": counts,
        "total": sum(count.records for count in counts if count.outcome == "quarantined"),
        "skipped": sum(count.records for count in counts if count.outcome == "skipped"),
        "records": records,
        "wanted": wanted,
        "entities": sorted({count.entity for count in counts}),
        "rules": sorted({count.rule for count in counts}),
        "outcomes": ("quarantined", "skipped"),
        "clinics": read_clinics(_URL),
        "query": urlencode({name: value for name, value in vars(wanted).items() if value}),
        "number": number,
        "more": more,
    }
    return render(request, "console/quarantine.html", context)


@admins_only
@require_GET
def download(request: HttpRequest) -> StreamingHttpResponse:
    """Send the records that the filter leaves as CSV."""
    wanted = QuarantineFilter.of(request.GET.dict())
    chosen = ", ".join(f"{name}" for name, value in vars(wanted).items() if value)
    note(request, "download", "done", f"CSV of the records that were not loaded (filter: {chosen or 'none'}).")
    return csv_download("not_loaded.csv", CSV_COLUMNS, iterate_quarantine(_URL, wanted))


@require_safe
def record(request: HttpRequest, entity: str, record_id: int) -> HttpResponse:
    """Show what was noticed of a record."""
    return _show(request, entity, record_id)


@require_POST
def name(request: HttpRequest, entity: str, record_id: int) -> HttpResponse:
    """Show the record with the name of its person.

    Raises:
        RequestError: names are off (403), or no such record was kept out (404).
    """
    if not PIPELINE.console_show_names:
        note(
            request, "show_names", "refused", f"The name of the {entity} record {record_id}: CONSOLE_SHOW_NAMES is off."
        )
        raise RequestError(
            "Names are not shown.",
            code=403,
            meaning="The person who runs the server has not allowed it (setting CONSOLE_SHOW_NAMES).",
            remedy="Look the record up in FileMaker by its id.",
        )
    read_record(_URL, without_nul(entity), record_id)
    note(request, "show_names", "done", f"The name of the {entity} record {record_id}.")
    return _show(request, entity, record_id, read_person(_URL, entity, record_id) or "FileMaker has no name.")


def _show(request: HttpRequest, entity: str, record_id: int, person: str = "") -> HttpResponse:
    found = read_record(_URL, without_nul(entity), record_id)
    rules = {count.rule: count for count in count_quarantined(_URL)}
    context = {"record": found, "rule": rules.get(found["rule"]), "person": person}
    return render(request, "console/quarantine_record.html", context | {"names_on": PIPELINE.console_show_names})


urlpatterns = [
    path("", listing, name="quarantine"),
    path("csv", download, name="quarantine-csv"),
    path("<str:entity>/<int:record_id>", record, name="quarantine-record"),
    path("<str:entity>/<int:record_id>/name", name, name="quarantine-name"),
]
