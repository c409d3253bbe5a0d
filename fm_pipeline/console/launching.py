"""Start a run for a page, once: a second click, or another administrator, is led to the run of the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from fm_pipeline.console.audit import actor_of, note
from fm_pipeline.console.current_runs import runs
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.gateway.run_state import RunState
from fm_pipeline.db.run_requests import run_requester

_URL = PIPELINE.nexus_database_url.get_secret_value()


def start_run(
    request: HttpRequest,
    job: str,
    about: str,
    ops: Mapping[str, Any] | None = None,
    is_same: Callable[[RunState], bool] | None = None,
) -> tuple[str, bool]:
    """Queue a run and record it, unless the same one waits or runs already; the next page then says so.

    Args:
        about: what the audit trail says of it.
        ops: config of its ops, as in the launchpad.
        is_same: whether a run of the job is the one that is asked for; without it every run is.

    Returns:
        the id of the run, and whether it is new.

    Raises:
        RequestError: Dagster refused it.
    """
    config = {"ops": dict(ops)} if ops else {}
    run_id, is_new = runs().launch_once(actor_of(request), job, config, is_same or (lambda _: True))
    if is_new:
        note(request, "launch", "done", about, run_id=run_id)
    else:
        tell_under_way(request, run_id)
    return run_id, is_new


def start_and_show(request: HttpRequest, *args: Any) -> HttpResponse:
    """Start a run as `start_run` does, and lead to its page."""
    return redirect("live-run", start_run(request, *args)[0])


def tell_under_way(request: HttpRequest, run_id: str) -> None:
    """Say on the next page that a run was not started again, and who has started it."""
    requester = run_requester(_URL, run_id)
    by = f", started by {requester}" if requester else ""
    messages.warning(request, f"Nothing more was started: this is under way already{by}.")


def op_config(run: RunState, op: str) -> Mapping[str, Any]:
    """Return the run config of one op; empty if there is none."""
    return ((run.config.get("ops") or {}).get(op) or {}).get("config") or {}


def are_words(typed: str, words: str) -> bool:
    """Whether the words that a page shows were typed, with whatever spaces: a paste brings line ends and others."""
    return typed.split() == words.split()
