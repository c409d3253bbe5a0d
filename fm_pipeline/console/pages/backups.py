"""The backups: make one, verify one again, restore one, and exports as CSV. Each works as a run of Dagster.

A restore takes two steps: a dry run shows what it would do, then the words that it names are typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST, require_safe

from fm_pipeline.console.accounts.middleware import admins_only
from fm_pipeline.console.audit import note
from fm_pipeline.console.current_runs import runs
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.downloads import file_download
from fm_pipeline.console.gateway.run_state import RunState
from fm_pipeline.console.launching import are_words, op_config, start_and_show
from fm_pipeline.console.pages.paging import page_number
from fm_pipeline.console.pages.run import is_dry_restore
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.backup.backup import Backup, find_backup, newest_backups
from fm_pipeline.nexus.backup.export_csv import list_exports, open_export
from fm_pipeline.status.history import last_run_report, reimports_with_backup, valid_dry_restore

_URL = PIPELINE.nexus_database_url.get_secret_value()
POLICIES = ("stop", "set-aside")
PAGE = 50


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """Show a page of the verified backups and of the exports."""
    number = page_number(request)
    first, end = (number - 1) * PAGE, number * PAGE
    found, every_export = list(islice(newest_backups(PIPELINE), first, end + 1)), list_exports(PIPELINE)
    backups, exports = found[:PAGE], every_export[first:end]
    made_by = {each["backup_id"]: each for each in reimports_with_backup(_URL)} if backups else {}
    context = {
        "backups": [_shown(backup) | {"reimport": made_by.get(backup.id)} for backup in backups],
        "exports": exports,
        "number": number,
        "more": len(found) > PAGE or len(every_export) > end,
        "encrypted": PIPELINE.backup_key is not None,
    }
    return render(request, "console/backups.html", context)


@require_POST
def make(request: HttpRequest) -> HttpResponse:
    """Start the job that makes a backup."""
    return start_and_show(request, "make_backup", "The job make_backup.")


@require_POST
def export(request: HttpRequest) -> HttpResponse:
    """Start the job that writes tables as CSV."""
    return start_and_show(request, "export_nexus_csv", "The job export_nexus_csv.")


@require_safe
def backup(request: HttpRequest, backup_id: str) -> HttpResponse:
    """Show one backup: its tables, its verifications, and the next step of a restore."""
    return _page(request, _find(str(backup_id)))


@require_POST
def verify(request: HttpRequest, backup_id: str) -> HttpResponse:
    """Start the job that verifies it again."""
    found = _find(str(backup_id))
    config = {"backup_id": found.id}
    ops = {"verify_rows": {"config": config}}

    def is_same(run: RunState) -> bool:
        return op_config(run, "verify_rows") == config

    return start_and_show(request, "verify_backup", "The job verify_backup.", ops, is_same)


@require_POST
def dry_run(request: HttpRequest, backup_id: str) -> HttpResponse:
    """Start a restore that is rolled back.

    Raises:
        RequestError: the form names no policy for newer rows.
    """
    found, newer = _find(str(backup_id)), request.POST.get("newer", "stop")
    if newer not in POLICIES:
        raise RequestError(
            "Newer rows are either set aside, or they stop the restore.",
            meaning="Nothing was started.",
            remedy="Choose one of the two in the form.",
        )
    config = {"folder": str(found.folder), "newer": newer}
    return _restore(request, config, ", a dry run", lambda run: op_config(run, "restore_rows") == config)


@require_POST
def restore(request: HttpRequest, backup_id: str) -> HttpResponse:
    """Start the restore, if the words of its dry run were typed.

    Raises:
        RequestError: there was no dry run of this backup since Nexus was changed, or it is being changed (409).
    """
    found, typed = _find(str(backup_id)), request.POST.get("confirm", "")
    if runs().unfinished(["full_reimport", "filemaker_sync"]):
        raise RequestError(
            "A reimport or a sync is under way.",
            code=409,
            meaning="Nothing was started. What the dry run of this restore has shown may not hold after it.",
            remedy="Wait until it has ended, then start the dry run of the restore again.",
        )
    shown = valid_dry_restore(_URL, found.id)
    if shown is None:
        raise RequestError(
            "This backup was not tried yet, or not since the last restore, reimport or sync.",
            code=409,
            meaning="Nothing was started.",
            remedy="Start the dry run of the restore.",
        )
    words, newer = shown["report"]["confirmation"], shown["report"]["newer_policy"]
    if not are_words(typed, words):
        note(request, "restore", "refused", f"Other words than asked for were typed for the backup {found.id}.")
        wrong = "These are not the words that the page shows. Nothing was started."
        return _page(request, found, wrong, status=400)
    config = {"folder": str(found.folder), "newer": newer, "confirm": words}
    return _restore(request, config, "", lambda run: not is_dry_restore(run))


@admins_only
@require_GET
def download(request: HttpRequest, name: str, file: str) -> StreamingHttpResponse:
    """Send a file of an export. It holds patient data, so that it is recorded before it is sent."""
    opened = open_export(PIPELINE, name, file)
    note(request, "download", "done", f"The file {file} of the export {name}.")
    return file_download(f"{name}-{file}", opened)


def _restore(
    request: HttpRequest, config: Mapping[str, str], about: str, is_same: Callable[[RunState], bool]
) -> HttpResponse:
    ops = {"restore_rows": {"config": config}}
    return start_and_show(request, "restore_backup", f"The job restore_backup{about}.", ops, is_same)


def _find(backup_id: str) -> Backup:
    if found := find_backup(PIPELINE, backup_id):
        return found
    raise RequestError("There is no backup of this id.", code=404, remedy="Take one of the list.")


def _page(request: HttpRequest, found: Backup, wrong: str = "", *, status: int = 200) -> HttpResponse:
    context = _shown(found) | {
        "tables": [(name, digest.rows) for name, digest in found.digests.items()],
        "verified": last_run_report(_URL, "verify", subject=found.id),
        "tried": valid_dry_restore(_URL, found.id),
        "restored": last_run_report(_URL, "restore", subject=found.id, dry_run=False),
        "wrong": wrong,
    }
    return render(request, "console/backup.html", context, status=status)


def _shown(found: Backup) -> dict[str, Any]:
    patients = found.digests.get("patients") or found.digests.get(f"{PIPELINE.nexus_schema}.patients")
    return {
        "backup": found,
        "patients": patients.rows if patients else None,
        "rows": sum(digest.rows for digest in found.digests.values()),
        "gone": not found.folder.is_dir(),
    }


urlpatterns = [
    path("", listing, name="backups"),
    path("make", make, name="make-backup"),
    path("export", export, name="export-csv"),
    path("exports/<str:name>/<str:file>", download, name="export-file"),
    path("<uuid:backup_id>", backup, name="backup"),
    path("<uuid:backup_id>/verify", verify, name="verify-backup"),
    path("<uuid:backup_id>/dry-run", dry_run, name="restore-dry-run"),
    path("<uuid:backup_id>/restore", restore, name="restore-backup"),
]
