"""When a plan is stale: something that its result depends on (`plan_inputs.py`) has changed since it was made.

A reimport refuses such a plan, and so does a sync that waited for a confirmation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from fm_pipeline.db.digest import Digest
from fm_pipeline.entities.registry import FILE_LINKS
from fm_pipeline.errors import PlanStop
from fm_pipeline.nexus.reimport.plan_inputs import Inputs
from fm_pipeline.nexus.staged_registry import STAGED_ENTITIES


@dataclass(frozen=True)
class Change:
    """One kind of what has changed since a plan was made.

    Attributes:
        of: `files` are FileMaker's documents and images that Nexus has; `links` those of records to rows.
        words: part of a sentence.
        tables: those of FileMaker's data or of Nexus.
    """

    of: Literal["database", "schema", "filemaker", "files", "links", "profile", "nexus", "settings"]
    words: str
    tables: tuple[str, ...] = ()


def refuse_stale(planned: Inputs, now: Inputs) -> None:
    """Refuse a stale plan.

    Raises:
        PlanStop: an input has changed since the plan was made.
    """
    if changes := find_changes(planned, now):
        raise PlanStop(
            f"The plan is stale: {'; '.join(change.words for change in changes)}.",
            meaning="What would happen is not what the plan showed. Nothing was changed.",
            remedy="Make a new plan, read it, and confirm that one.",
        )


def find_changes(planned: Inputs, now: Inputs) -> list[Change]:
    """Return what has changed since the plan was made."""
    found = []
    if now.database != planned.database:
        found.append(Change("database", "the plan was made for another database"))
    if now.schema != planned.schema:
        words = "the tables of Nexus are not what they were (a migration of the application?)"
        found.append(Change("schema", words))
    found += _changed_records(_names(now.staged, planned.staged))
    if tables := _names(now.target, planned.target):
        found.append(Change("nexus", f"rows of Nexus changed ({', '.join(tables)})", tuple(tables)))
    if now.settings.keys() != planned.settings.keys():
        found.append(Change("settings", "the plan was made by another release, which has other settings"))
    elif dict(now.settings) != dict(planned.settings):
        found.append(Change("settings", "a setting that decides what happens to rows was changed"))
    return found


def _names(now: Mapping[str, Digest], then: Mapping[str, Digest]) -> list[str]:
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))


def _changed_records(names: list[str]) -> Iterator[Change]:
    """Yield what has changed in tables of ours. Only some of it is data of FileMaker."""
    told: dict[str, Change] = {
        "crosswalk": Change(
            "links",
            "the links of FileMaker's records to rows of Nexus changed, as by a reimport, a restore or an import of"
            " images",
        ),
        FILE_LINKS: Change(
            "files",
            "Nexus has other documents or images of FileMaker than it had, as after an import of images, or FileMaker"
            " names other patients for them",
        ),
        STAGED_ENTITIES.name: Change("profile", "the mapping profile adds other tables or columns than it did"),
    }
    yield from (told[name] for name in names if name in told)
    if others := [name.removeprefix("staged_") for name in names if name not in told]:
        yield Change("filemaker", f"FileMaker's data changed ({', '.join(others)})", tuple(others))
