"""A check of a result, and the error if one fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fm_pipeline.errors import ValidationStop


@dataclass(frozen=True)
class Check:
    """One check: its name, what was found (counts and names of columns only), and whether it holds.

    Attributes:
        remedy: what to do if it fails, if that is known.
    """

    name: str
    holds: bool
    found: str
    remedy: str = ""


def raise_if_failed(checks: Sequence[Check]) -> None:
    """Raise ValidationStop if a check does not hold."""
    failed = [check for check in checks if not check.holds]
    if failed:
        raise ValidationStop(
            "The result did not pass validation: "
            + "; ".join(f"{check.name}: {check.found}" for check in failed)
            + ".",
            meaning="The transaction was rolled back; Nexus is unchanged.",
            remedy=" ".join(check.remedy for check in failed if check.remedy)
            or "Compare the named tables with FileMaker, and look for triggers and rules on them;"
            " docs/architecture.md explains each check.",
        )
