"""The page of a run: its steps with the time left, its log, its end. It survives a reload: all of it is on record."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import takewhile
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import HTMX_STOP_POLLING, HttpResponseClientRedirect

from fm_pipeline.console.audit import note, noted_cancel
from fm_pipeline.console.current_runs import runs
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.gateway.run_state import RunLog, RunState
from fm_pipeline.console.launching import op_config
from fm_pipeline.console.navigation import menu
from fm_pipeline.console.pages import plan
from fm_pipeline.db.run_requests import run_requester
from fm_pipeline.dicom.formats import duration_formatted
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.backup.backup import Backup, newest_backups
from fm_pipeline.status.history import (
    KIND_OF_JOB,
    about_cancel,
    kind_words,
    read_reason,
    read_run,
    read_run_reports,
    reimports_with_backup,
    who_cancelled,
)
from fm_pipeline.status.plans import plan_of_run, report_of_reimport
from fm_pipeline.status.recent import UnfinishedRun
from fm_pipeline.status.run_ends import ENDED_BADLY, Attempt, RunEnd, read_run_end
from fm_pipeline.status.run_steps import StepState, count_words, read_run_steps, step_words

# Runs of these come one after the other, and so do runs of all other jobs (the pools of the jobs).
DICOM_JOBS = ("dicom_import", "dicom_import_chunks", "remove_dicom_import")
# The page of the menu to which the runs of a job belong; all others belong to Data management.
SECTIONS = {
    **dict.fromkeys(
        ("restore_backup", "restore_drill", "make_backup", "verify_backup", "export_nexus_csv"), ("Backups", "backups")
    ),
    "filemaker_sync": ("Sync", "sync"),
    **dict.fromkeys(DICOM_JOBS, ("DICOM", "dicom")),
}
DRY_RESTORE = "Dry run of a restore: Nexus stays as it is"
LEAST_SECONDS_LEFT = 1.0  # "0 seconds" helps nobody
# What the launchpad of Dagster needs and a page has a button for.
_FOR_LAUNCHPAD = re.compile(r" ?To carry it out(?:: full_reimport with|, launch it again with) .*")
IMAGE_OPS = ("patient_image_copies", "filemaker_image_files")  # that have dry runs
LIVE_JOBS = ("plan_reimport", "full_reimport")
CHECKS_RECORDS = (*LIVE_JOBS, "filemaker_sync")  # the errors of their steps are records that a rule keeps out
CHANGES_NOTHING = "It changes nothing in Nexus."
# What a cancel leaves, by the job of the run.
IF_CANCELLED = {
    **dict.fromkeys(("full_reimport", "restore_backup"), "Nexus then stays as it was, unless the last step has ended."),
    "filemaker_sync": "Nexus then stays as it was, unless everything was done by then.",
    **dict.fromkeys(("make_backup", "verify_backup", "restore_drill", "export_nexus_csv"), CHANGES_NOTHING),
    "import_image_files": "Images that it has imported stay. The next import goes on with the rest.",
    "dicom_import": "What it has imported stays. The job can be resumed on its page.",
}
IF_ANOTHER_IS_CANCELLED = "What it has not completed is undone, or goes on with the next run."
# What no kind of the history names, or what the clinic calls otherwise.
TITLES = {
    "plan_reimport": "Dry run",
    "full_reimport": "Full reimport",
    "restore_drill": "Restore drill",
    "dicom_import": "DICOM import",
    "dicom_import_chunks": "DICOM import",
    "remove_dicom_import": "Removal of a DICOM import",
}
LOG_LINES, LOG_EVENTS = 1000, 3000  # the last ones on the page, which asks every 3 s; log.txt has all


def page(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Show a run; lead to what is on record of one that Dagster has not kept."""
    run = runs().find(str(run_id))
    if run is None:
        read_run(PIPELINE.nexus_database_url.get_secret_value(), str(run_id))  # refuses if there is nothing
        return redirect("run", run_id)
    section, name = SECTIONS.get(run.job, ("Data management", "data-management"))
    address = reverse(name)
    of_menu = {"section": section, "section_address": address, "menu": menu(address)}
    return render(request, "console/live_run.html", _state(run) | _log(run) | of_menu)


def running_now(unfinished: Sequence[RunState]) -> list[dict[str, object]]:
    """Return runs that wait or run, of any job, with their titles and the time left as far as it is known."""
    url = PIPELINE.nexus_database_url.get_secret_value()
    return [
        {
            "run": each,
            "title": _title(each),
            "is_ending": each.status == "running" and read_run_end(url, each.run_id, _attempt(each)).finished,
            "left": _left(read_run_steps(url, each.run_id, each.job).seconds_left, each),
        }
        for each in unfinished
    ]


def of_history(unfinished: Sequence[RunState]) -> list[UnfinishedRun]:
    """Return those of these runs that the history will have, as it names them. DICOM jobs have rows of their own."""
    return [
        UnfinishedRun(each.run_id, KIND_OF_JOB[each.job], _is_dry_run(each), each.status == "queued")
        for each in unfinished
        if each.job in KIND_OF_JOB
    ]


def state(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Answer the part that asks again every two seconds, until the run has ended; a dry run leads to its plan then."""
    run = _find(run_id)
    shown = _state(run)
    if made := shown["plan"]:
        return HttpResponseClientRedirect(reverse("plan", args=[made.id]))
    return render(request, "console/live_run_state.html", shown, status=200 if run.unfinished else HTMX_STOP_POLLING)


def log(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Answer the log; nothing (204) if the page has all of it."""
    run = _find(run_id)
    shown = _log(run)
    if run.unfinished and request.GET.get("seen") == str(shown["newest"]):
        return HttpResponse(status=204)
    status = 200 if run.unfinished else HTMX_STOP_POLLING
    return render(request, "console/live_run_log.html", shown, status=status)


def log_file(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Answer the whole log as a text file."""
    run = _find(run_id)
    note(request, "download", "done", "Log of a run.", run_id=run.run_id)
    text = "".join(f"{line}\n" for line in _lines(runs().log(run.run_id)))
    headers = {"Content-Disposition": f'attachment; filename="run-{run.run_id}.txt"'}
    return HttpResponse(text, content_type="text/plain; charset=utf-8", headers=headers)


@require_POST
def cancel(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """End a run as Dagster does: what it has not committed is rolled back. Of one that has ended, show how."""
    run = _find(run_id)
    if run.unfinished:
        about = about_cancel(run.job)
        with suppress(RequestError), noted_cancel(request, about, run_id=run.run_id):  # refused: it has just ended
            runs().terminate(request.user.get_username(), run.run_id)
            return redirect("live-run", run.run_id)
    messages.warning(request, "The run had ended before you cancelled it: nothing was cancelled.")
    return redirect("live-run", run.run_id)


def _find(run_id: UUID) -> RunState:
    run = runs().find(str(run_id))
    if run is None:
        raise RequestError("There is no run of that id.", code=404, remedy="Dagster lists the runs that it has kept.")
    return run


def _lines(log: RunLog) -> list[str]:
    zone = ZoneInfo(PIPELINE.clinic_time_zone)
    whole = [line.shown(zone) for line in log.lines]
    short = [_FOR_LAUNCHPAD.sub("", line) for line in whole]
    return [line for line, before in zip(short, whole, strict=True) if line == before or not line.endswith("]")]


def _log(run: RunState) -> dict[str, object]:
    log = runs().log(run.run_id, LOG_EVENTS)
    lines = _lines(log)
    is_whole = log.is_whole and len(lines) <= LOG_LINES
    return {"run": run, "newest": log.newest, "lines": lines[-LOG_LINES:], "is_whole": is_whole}


def _state(run: RunState) -> dict[str, Any]:
    url = PIPELINE.nexus_database_url.get_secret_value()
    steps = read_run_steps(url, run.run_id, run.job)
    made = plan_of_run(url, run.run_id) if run.job == "plan_reimport" else None
    if made and run.status == "running":  # the plan is all that it was to do; its process ends in a moment
        run = replace(run, status="done")
    end = read_run_end(url, run.run_id, _attempt(run))
    shown = [_step(step, run, end) for step in steps.steps if run.unfinished or step.started_at]
    current = next((step["label"] for step in shown if step["state"] == "running"), "")
    last_done = next((step["label"] for step in reversed(shown) if step["state"] == "done"), "")
    report, undone = report_of_reimport(url, run.run_id) if run.job == "full_reimport" else (None, None)
    reports = read_run_reports(url, run.run_id)
    restored = next((each for each in reports if each["action"] == "restore" and not each["dry_run"]), None)
    is_ending = end.finished and run.status == "running" and not current
    is_done = is_ending or run.status == "done"
    return {
        "run": run,
        "is_ending": is_ending,
        "is_done": is_done,
        "title": _title(run),
        **(_waited_for(run) if run.status == "queued" else {}),
        "begun": any(step.started_at for step in steps.steps),
        "is_reimport": run.job in LIVE_JOBS,
        "dry_run": run.job == "plan_reimport" or _is_dry_run(run),
        "rolled_back": is_done and _is_dry_run(run),
        "requester": run_requester(url, run.run_id),
        "steps": shown,
        "current": current,
        "last_done": last_done,
        "left": _left(steps.seconds_left, run),
        "plan": made,
        "carried_out_plan": op_config(run, "reimport_transaction").get("plan_id"),
        "backup": _backup(run, committed=report is not None),
        "reason": read_reason(url, run.run_id) if run.status == "failed" else "",
        "cancelled_by": who_cancelled(url, run.run_id) if run.status == "cancelled" else "",
        "errors_are": "Quarantined" if run.job in CHECKS_RECORDS else "Errors",
        "too_late": who_cancelled(url, run.run_id) if run.status == "done" else "",
        "committed": plan.report_parts(report) if report else None,
        "committed_at": datetime.fromisoformat(report["started_at"]) if report else None,
        "undone": undone,
        "restored": restored["report"] if restored else None,
        "restored_undone": restored["undone"] if restored else None,
        "way_back": _way_back(restored) if restored else None,
        "sync": end.sync,
        "undoes_sync": _undoes_sync(run),
        "unchanged": end.unchanged,
        "reports": reports,
        "if_cancelled": IF_CANCELLED.get(run.job, IF_ANOTHER_IS_CANCELLED),
    }


def _waited_for(run: RunState) -> dict[str, object]:
    """Return the runs for which a run waits, and the `limit` of runs at the same time if it waits for that."""
    all_runs = runs().unfinished()  # the newest first
    ids = [each.run_id for each in all_runs]
    older = all_runs[ids.index(run.run_id) + 1 :] if run.run_id in ids else []
    before, limit = [each for each in older if (each.job in DICOM_JOBS) == (run.job in DICOM_JOBS)], None
    if not before and (most := runs().most_at_once()) and len(older) >= most:
        before, limit = older, most
    return {"before": [{"run_id": each.run_id, "title": _title(each)} for each in before], "limit": limit}


def _title(run: RunState) -> str:
    if is_dry_restore(run):
        return DRY_RESTORE
    if _undoes_sync(run):
        return "Undo of a sync"
    if run.job in KIND_OF_JOB and run.job not in TITLES:
        words = kind_words(KIND_OF_JOB[run.job], dry_run=_is_dry_run(run))
        return f"{words[:1].upper()}{words[1:]}"
    return TITLES.get(run.job, run.job.strip("_").replace("_", " ").capitalize())


def _undoes_sync(run: RunState) -> bool:
    return bool(op_config(run, "sync_nexus").get("undo_id"))


def _attempt(run: RunState) -> Attempt:
    outcome = run.status if run.status in ENDED_BADLY else ""
    return Attempt(KIND_OF_JOB.get(run.job, ""), _is_dry_run(run), _undoes_sync(run), outcome)


def is_dry_restore(run: RunState) -> bool:
    """Whether it restores nothing: the words of the dry run are not in its run config."""
    return run.job == "restore_backup" and not op_config(run, "restore_rows").get("confirm")


def _is_dry_run(run: RunState) -> bool:
    return is_dry_restore(run) or any(op_config(run, op).get("dry_run") for op in IMAGE_OPS)


def _backup(run: RunState, *, committed: bool) -> Backup | None:
    """Return the backup that a run restores, or that a reimport has made before it changed anything."""
    folder = op_config(run, "restore_rows").get("folder")
    made: set[str] = set()
    if run.job == "full_reimport" and (committed or not run.unfinished):
        known = reimports_with_backup(PIPELINE.nexus_database_url.get_secret_value())
        made = {each["backup_id"] for each in known if each["run_id"] == run.run_id}
    if not folder and not made:
        return None
    return next((each for each in newest_backups(PIPELINE) if str(each.folder) == folder or each.id in made), None)


def _way_back(restored: Mapping[str, Any]) -> Backup | None:
    """Return the newest backup from before a restore; None if none is newer than the backup that was restored."""
    before = (each for each in newest_backups(PIPELINE) if each.created_at < restored["at"])
    newer = takewhile(lambda each: each.id != restored["subject"], before)
    return next((each for each in newer if each.folder.is_dir()), None)


def _left(seconds: float | None, run: RunState) -> str:
    """Return the time left of a run that works; empty if it is not known."""
    if seconds is None or seconds < LEAST_SECONDS_LEFT or run.status != "running":
        return ""
    return duration_formatted(seconds)


def _step(step: StepState, run: RunState, end: RunEnd) -> dict[str, object]:
    """Return a step for the template."""
    begun, ended = step.started_at is not None, step.finished_at is not None
    state = end.state_of_step(step.name, has_begun=begun, has_ended=ended, is_over=not run.unfinished)
    label = step_words(step.name)
    if step.name == "restore" and is_dry_restore(run):
        label = "Trial restore (nothing is kept)"
    return {
        "label": label,
        "state": state,
        "done": step.done,
        "total": step.total,
        "count": count_words(step.name, step.done, None if ended else step.total),
        "errors": step.errors,
        "seconds": step.seconds if begun else None,
        "left": _left(step.seconds_left, run) if state == "running" else "",
    }
