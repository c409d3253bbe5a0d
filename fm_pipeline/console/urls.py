"""Every address of the console. What belongs to Dagster, below /dagster, is in `gateway`."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from django.views.generic import RedirectView

from fm_pipeline.console.accounts.middleware import open_to_all
from fm_pipeline.console.pages import (
    account,
    audit,
    backups,
    data_management,
    history,
    images,
    maintenance,
    quarantine,
    service,
    sync,
    tokens,
)
from fm_pipeline.console.pages.dicom import overview

_login = LoginView.as_view(template_name="console/login.html", redirect_authenticated_user=True)

urlpatterns = [
    path("api/sync/", include("fm_pipeline.console.api.urls")),
    path("", RedirectView.as_view(url="/settings/data-management")),
    path("login/", open_to_all(_login)),
    path("logout/", open_to_all(LogoutView.as_view())),
    path("account/", include(account)),
    path("audit/", include(audit)),
    path("settings/tokens/", include(tokens)),
    path("settings/data-management", include(data_management)),
    path("settings/dicom", include(overview)),
    path("settings/history/", include(history)),
    path("settings/not-loaded/", include(quarantine)),
    path("settings/sync/", include(sync)),
    path("settings/backups/", include(backups)),
    path("settings/images/", include(images)),
    path("settings/maintenance/", include(maintenance)),
    path("health", service.health, name="health"),
    path("metrics", service.metrics, name="metrics"),
    path("settings/service", service.page, name="service"),
]

handler400 = "fm_pipeline.console.failures.bad_request"
handler403 = "fm_pipeline.console.failures.forbidden"
handler404 = "fm_pipeline.console.failures.not_found"
handler500 = "fm_pipeline.console.failures.server_error"
