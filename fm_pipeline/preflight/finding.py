"""What the preflight has to say: one line a thing that it looked at, judged by the rules of rules.yaml."""

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
    """One line. Names, counts and record ids only; no value of a record.

    Attributes:
        subject: what was looked at: a server, a layout, a table.
        found: what was seen, a sentence or a few numbers.
        rule: the rule that is broken; empty when all is well.
        remedy: what to do; empty when all is well.
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
    """Makes findings of one area; what a broken rule means is the clinic's own choice.

    Args:
        rules: with what RULES_FILE changes.
    """

    def __init__(self, rules: Rules, area: Area) -> None:
        self.rules, self._area = rules, area

    def ok(self, subject: str, found: str) -> Finding:
        """All is well."""
        return Finding(self._area, subject, "good", found)

    def violation(self, rule_id: str, subject: str, found: str, remedy: str = "") -> Finding:
        """A rule is broken.

        Args:
            remedy: when there is a better one than the rule's.
        """
        rule = self.rules[rule_id]
        level: Level = "stop" if rule.action == "stop" else "warning"
        return Finding(self._area, subject, level, found, rule_id, remedy or rule.remedy)

    def violation_of(self, rule: Rule, subject: str, found: str) -> Finding:
        """A rule is broken, as it is for this subject."""
        level: Level = "stop" if rule.action == "stop" else "warning"
        return Finding(self._area, subject, level, found, rule.id, rule.remedy)

    def from_error(self, rule_id: str, subject: str, error: PipelineError) -> Finding:
        """One of our own errors, which knows what to do."""
        return self.violation(rule_id, subject, error.what, error.remedy)


def stops(findings: Iterable[Finding]) -> list[Finding]:
    """Those that forbid to go on."""
    return [finding for finding in findings if finding.level == "stop"]
