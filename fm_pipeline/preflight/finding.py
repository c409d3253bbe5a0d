"""Findings of the preflight: one line for each thing that was checked, with the level that rules.yaml gives it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from fm_pipeline.entities.rules import Rule, Rules
from fm_pipeline.errors import PipelineError

Area = Literal["FileMaker", "Nexus", "source", "services", "images", "DICOM", "records"]
Level = Literal["good", "warning", "stop"]


@dataclass(frozen=True)
class Finding:
    """A finding. Names, counts and record ids only; no value of a record.

    Attributes:
        subject: what was checked: a server, a layout, a table.
        found: the result, a sentence or a few numbers.
        rule: the rule that is violated; empty if none is.
        remedy: what to do; empty if nothing is to be done.
    """

    area: Area
    subject: str
    level: Level
    found: str
    rule: str = ""
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


class FindingBuilder:
    """Builds the findings of one area. The clinic's rules decide the level of a violation.

    Args:
        rules: including the changes of RULES_FILE.
    """

    def __init__(self, rules: Rules, area: Area) -> None:
        self.rules, self._area = rules, area

    def ok(self, subject: str, found: str) -> Finding:
        """Return a finding without a violation."""
        return Finding(self._area, subject, "good", found)

    def violation(self, rule_id: str, subject: str, found: str, remedy: str = "") -> Finding:
        """Return the finding that a rule is violated.

        Args:
            remedy: replaces the remedy of the rule.
        """
        rule = self.rules[rule_id]
        level: Level = "stop" if rule.action == "stop" else "warning"
        return Finding(self._area, subject, level, found, rule_id, remedy or rule.remedy)

    def violation_of(self, rule: Rule, subject: str, found: str) -> Finding:
        """Return the finding that a rule is violated, with the action that it has for this subject."""
        level: Level = "stop" if rule.action == "stop" else "warning"
        return Finding(self._area, subject, level, found, rule.id, rule.remedy)

    def from_error(self, rule_id: str, subject: str, error: PipelineError) -> Finding:
        """Return the finding for an error, with its remedy."""
        return self.violation(rule_id, subject, error.what, error.remedy)


def stops(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that stop a reimport."""
    return [finding for finding in findings if finding.level == "stop"]
