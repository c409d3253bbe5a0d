"""The addresses of the calls, of their OpenAPI description and of its page."""

from __future__ import annotations

from django.urls import URLPattern, re_path
from ninja import NinjaAPI, Swagger

from fm_pipeline.console.accounts.middleware import open_to_all
from fm_pipeline.console.api.authentication import AdminSession, DicomToken
from fm_pipeline.console.api.calls import router
from fm_pipeline.console.api.errors import as_json, handle_errors, unknown_call


class CallsPage(Swagger):
    """The page of the description, with files of this site and without a script in the page."""

    template = "console/calls.html"


api = NinjaAPI(
    title="DICOM import",
    version="1",
    description="The calls of the hospital's DICOM system. Each is also answered at its name with `.php` behind it.",
    urls_namespace="calls",
    auth=[DicomToken(), AdminSession()],
    openapi_url="/openapi.json",
    docs=CallsPage(settings={"docExpansion": "list", "validatorUrl": None}),
    docs_url="/docs",
)
api.add_router("", router)
handle_errors(api)


def _patterns() -> list[URLPattern]:
    patterns = [pattern for pattern in api.urls[0] if isinstance(pattern, URLPattern)]
    for pattern in patterns:
        if pattern.name == "api-root":  # the description needs its address
            pattern.callback = open_to_all(unknown_call)
        elif pattern.name not in ("openapi-json", "openapi-view"):  # these are pages, for whoever may log in
            pattern.callback = open_to_all(as_json(pattern.callback))  # the calls themselves ask who it is
    return [*patterns, re_path(r"", open_to_all(unknown_call))]


app_name = "calls"
urlpatterns = _patterns()
