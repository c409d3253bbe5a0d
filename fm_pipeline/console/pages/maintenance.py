"""What people are told: emails to users before and after a maintenance, a static page to serve meanwhile, alarms."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from fm_pipeline.console.audit import note
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.db.audit import who_did
from fm_pipeline.notifications.maintenance import announce_end, announce_maintenance
from fm_pipeline.status.expected import read_expectations

MOST_MINUTES = 24 * 60
SAME = timedelta(minutes=5)  # in which the same announcement is a second click, or another administrator's
_telling = threading.Lock()
STATIC_PAGE = "console/maintenance_static.html"


class AnnouncementForm(forms.Form):
    """When the maintenance begins, in the clinic's time, and how long it takes."""

    begins = forms.DateTimeField(widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"))
    minutes = forms.IntegerField(min_value=1, max_value=MOST_MINUTES, initial=30)


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the forms and what is expected."""
    return _page(request, AnnouncementForm())


@require_POST
def announce(request: HttpRequest) -> HttpResponse:
    """Email the users when a maintenance will begin."""
    form = AnnouncementForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=400)
    begins, minutes = form.cleaned_data["begins"], form.cleaned_data["minutes"]
    now = datetime.now(UTC)
    detail = f"Announced for {begins:%Y-%m-%d %H:%M %Z}, {minutes} minutes."
    return _tell_once(request, detail, now, partial(announce_maintenance, PIPELINE, begins, minutes, now=now))


@require_POST
def end(request: HttpRequest) -> HttpResponse:
    """Email the users that a maintenance is over."""
    now = datetime.now(UTC)
    return _tell_once(request, "The users were told that it is over.", now, partial(announce_end, PIPELINE, now=now))


@require_safe
def static_page(_: HttpRequest) -> HttpResponse:
    """Send the page that a web server shows while Nexus is closed, with the support contact in it."""
    response = HttpResponse(render_to_string(STATIC_PAGE, {"support_contact": PIPELINE.support_contact}))
    response["Content-Disposition"] = 'attachment; filename="maintenance.html"'
    return response


def _tell_once(request: HttpRequest, detail: str, now: datetime, tell: Callable[[], None]) -> HttpResponse:
    """Store an email, unless somebody has stored the same one a moment ago: two clicks are one email."""
    with _telling:
        if by := who_did(PIPELINE.nexus_database_url.get_secret_value(), "maintenance", detail, now - SAME):
            messages.warning(request, f"No second email is sent: {by} has announced the same a moment ago.")
        else:
            tell()
            note(request, "maintenance", "done", detail)
            sent = "The email is in the outbox. The sensor reimport_mails sends it within a minute."
            messages.success(request, sent)
    return redirect("maintenance")


def _page(request: HttpRequest, form: AnnouncementForm, *, status: int = 200) -> HttpResponse:
    now = timezone.now()
    receivers = (PIPELINE.console_maintenance_mails or "").split(",") if PIPELINE.smtp_host else []
    context = {
        "form": form,
        "receivers": sum(bool(address.strip()) for address in receivers),
        "zone": PIPELINE.clinic_time_zone,
        "expected": [(each, each.is_overdue(now)) for each in read_expectations(PIPELINE)],
    }
    return render(request, "console/maintenance.html", context, status=status)


urlpatterns = [
    path("", page, name="maintenance"),
    path("announce", announce, name="announce-maintenance"),
    path("end", end, name="end-maintenance"),
    path("page.html", static_page, name="maintenance-page"),
]
