"""The clinic's sign-off list of a reimport: what a plan proves, and what an administrator has to tick."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fm_pipeline.pluralize import counted
from fm_pipeline.status.plans import StoredPlan


@dataclass(frozen=True)
class SignOff:
    """One line of the sign-off list.

    Attributes:
        name: of the box to tick; empty for what the pipeline proves by itself.
        words: of the clinic's checklist.
        proof: why it is proved, or what the reader is to look at.
        badge: beside a line without a box.
    """

    name: str
    words: str
    proof: str
    badge: str = "proved"


def sign_off(plan: StoredPlan) -> Iterator[SignOff]:
    """Yield the seven points of the clinic's checklist: first those to tick. Two that are one act share a box."""
    sources, checks = plan.report["sources"], plan.report["checks"]
    left = sum(int(source["quarantined"]) for source in sources)
    records = sum(int(source["source"]) for source in sources)
    complete = SignOff(
        "" if not left else "data",
        "All FileMaker data verified complete",
        f"The plan has read {counted(records, 'record')} and held each against the rules."
        + (f" {counted(left, 'is', 'are')} quarantined and would not be loaded: look there first." if left else ""),
    )
    if left:
        yield complete
    yield SignOff(
        "tested",
        "Settings page tested on development",
        "Somebody has tried these pages with a copy of Nexus, or with made-up data, before they are used here.",
    )
    yield SignOff(
        "told",
        "Maintenance window scheduled; User notified of maintenance",
        "A time is agreed in which nobody works in Nexus, and everybody who works in Nexus knows it.",
    )
    if not left:
        yield complete
    yield SignOff(
        "",
        "Dry-run completed successfully",
        f"This plan: {counted(len(checks), 'check')} passed; Nexus was left as it was.",
    )
    yield SignOff(
        "",
        "Database backup created",
        "The run reads it back, restores it into copies of the tables and compares them. Without that it changes"
        " nothing.",
        badge="made by this run before anything is changed",
    )
    yield SignOff(
        "",
        "Rollback plan documented",
        "If anything fails, Nexus stays as it was. Afterwards the page Backups brings back what was before.",
    )
