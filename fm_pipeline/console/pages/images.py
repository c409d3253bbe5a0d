"""The image link and the import from FileMaker's containers, as runs of Dagster, with a dry run of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST, require_safe

from fm_pipeline.console.accounts.middleware import admins_only
from fm_pipeline.console.audit import note
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.downloads import csv_download, file_download
from fm_pipeline.console.gateway.run_state import RunState
from fm_pipeline.console.launching import op_config, start_and_show
from fm_pipeline.errors import RequestError
from fm_pipeline.images.linking.review_lists import NOT_LINKED
from fm_pipeline.status.history import last_run_report
from fm_pipeline.status.image_reasons import NOT_IMPORTED_COLUMNS, iterate_not_imported

_URL = PIPELINE.nexus_database_url.get_secret_value()
MOST = 10_000_000
DATES = [("proved", "as the dates prove it"), ("mdy", "month first"), ("dmy", "day first")]


class LinkForm(forms.Form):
    """How much is linked, and how the export is read."""

    limit = forms.IntegerField(min_value=1, max_value=MOST, required=False, label="At most so many images (empty: all)")
    dates = forms.ChoiceField(choices=DATES, label="Dates in the export")
    restore_removed = forms.BooleanField(required=False, label="Link again what somebody removed in Nexus")


class ImportForm(forms.Form):
    """How many records have their turn."""

    limit = forms.IntegerField(
        min_value=1, max_value=MOST, required=False, label="At most so many records (empty: all)"
    )


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the forms and the last results."""
    return _page(request)


@require_POST
def link(request: HttpRequest) -> HttpResponse:
    """Start the image link, or its dry run.

    Raises:
        RequestError: there was no dry run since the last link (409).
    """
    form = LinkForm(request.POST)
    if not form.is_valid():
        return _page(request, link_form=form, status=400)
    dry_run = "dry_run" in request.POST
    if not dry_run and not _is_tried():
        raise RequestError(
            "The image link was not tried since it was last carried out.",
            code=409,
            meaning="Nothing was started.",
            remedy="Start its dry run and look at what it would do.",
        )
    copies = {name: form.cleaned_data[name] for name in ("limit", "restore_removed") if form.cleaned_data[name]}
    ops = {
        "image_metadata_csv": {"config": {"dates": form.cleaned_data["dates"]}},
        "patient_image_copies": {"config": copies | {"dry_run": dry_run}},
    }
    return _launch(request, "link_images", ops, dry_run=dry_run)


@require_POST
def import_files(request: HttpRequest) -> HttpResponse:
    """Start the import from the containers, or its dry run."""
    form = ImportForm(request.POST)
    if not form.is_valid():
        return _page(request, import_form=form, status=400)
    config: dict[str, Any] = {"dry_run": "dry_run" in request.POST}
    if form.cleaned_data["limit"]:
        config["limit"] = form.cleaned_data["limit"]
    ops = {"filemaker_image_files": {"config": config}}
    return _launch(request, "import_image_files", ops, dry_run=config["dry_run"])


@admins_only
@require_GET
def not_linked(request: HttpRequest) -> StreamingHttpResponse:
    """Send the list that the newest link or dry run has written.

    Raises:
        RequestError: there is none, or the server's account cannot read it (404).
    """
    try:
        file = (PIPELINE.state_dir / "images" / NOT_LINKED).open("rb")
    except OSError as error:
        raise RequestError(
            f"The list of the images that were not linked cannot be read ({error.strerror}).",
            code=404,
            meaning="The last link wrote none, or ran as another account or on another machine.",
            remedy="Start the dry run of the link on the page Images: it writes the list.",
        ) from None
    note(request, "download", "done", "The list of the images that were not linked.")
    return file_download(NOT_LINKED, file)


@admins_only
@require_GET
def not_imported(request: HttpRequest) -> StreamingHttpResponse:
    """Send the records whose images are not imported from the containers, with reasons."""
    note(request, "download", "done", "The list of the images that were not imported.")
    return csv_download("not_imported.csv", NOT_IMPORTED_COLUMNS, iterate_not_imported(_URL))


def _launch(request: HttpRequest, job: str, ops: Mapping[str, Any], *, dry_run: bool) -> HttpResponse:
    def is_same(run: RunState) -> bool:
        return any(op_config(run, op).get("dry_run") is dry_run for op in ops)

    about = f"The job {job}{', a dry run' if dry_run else ''}."
    return start_and_show(request, job, about, ops, is_same)


def _is_tried() -> bool:
    tried, linked = (last_run_report(_URL, "image_link", dry_run=dry_run) for dry_run in (True, False))
    return tried is not None and (linked is None or tried["at"] > linked["at"])


def _page(
    request: HttpRequest,
    link_form: LinkForm | None = None,
    import_form: ImportForm | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    context = {
        "link_form": link_form or LinkForm(),
        "import_form": import_form or ImportForm(),
        "tried": _is_tried(),
        "has_export": PIPELINE.image_export_file is not None,
        "results": [
            (action, last_run_report(_URL, action, dry_run=dry_run))
            for action in ("image_link", "image_import")
            for dry_run in (True, False)
        ],
    }
    return render(request, "console/images.html", context, status=status)


urlpatterns = [
    path("", page, name="images"),
    path("link", link, name="link-images"),
    path("import", import_files, name="import-images"),
    path("not-linked.csv", not_linked, name="not-linked-csv"),
    path("not-imported.csv", not_imported, name="not-imported-csv"),
]
