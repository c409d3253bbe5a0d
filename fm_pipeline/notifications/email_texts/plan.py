"""Emails about a plan: it is ready, or it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fm_pipeline.notifications.email_texts.email_text import EmailText
from fm_pipeline.pluralize import counted


def plan_ready(plan_id: str, report: Mapping[str, Any]) -> EmailText:
    """Say what a plan would change and lose.

    Args:
        report: `ReimportReport.as_dict()` of the plan.
    """
    rows = int(report["changed_rows"])
    change = f"{counted(rows, 'row')} of Nexus would change" if rows else "no reimport is needed"
    sentences = [
        f"The plan of a reimport from FileMaker into Nexus is ready: {change}. Nexus is unchanged.",
        "",
        *report["losses"],
        "",
        "Read the plan. Nothing is carried out before an administrator has confirmed it.",
        "The plan holds until FileMaker or Nexus changes. Then make a new one.",
        "",
        f"Plan: {plan_id}",
    ]
    return EmailText(f"Plan ready: {change}", sentences)


def plan_failed(why: Sequence[str]) -> EmailText:
    """Say that a plan of a schedule failed.

    Args:
        why: sentences of `why_it_failed.py`.
    """
    sentences = ["The plan that a schedule makes has failed. There is no new plan.", "", *why]
    return EmailText("Plan failed: Nexus is unchanged", sentences)
