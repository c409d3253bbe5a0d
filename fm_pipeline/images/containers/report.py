"""The report of an import: each processed record has exactly one outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fm_pipeline.errors import PipelineError

OutcomeKind = Literal["imported", "already_linked", "skipped", "failed", "in_use"]
LISTED = 100  # record ids of a reason that a report names
OUTCOME_KINDS: tuple[OutcomeKind, ...] = ("imported", "already_linked", "skipped", "failed", "in_use")


@dataclass(frozen=True)
class RecordOutcome:
    """The outcome of a record.

    Attributes:
        container: if imported, the field that its file came from.
        reason: if not imported.
        passed_over: better containers that could not be read, with reasons.
    """

    kind: OutcomeKind
    container: str = ""
    reason: str = ""
    passed_over: Mapping[str, str] = field(default_factory=dict)


@dataclass
class ImportReport:
    """The report of a run.

    Attributes:
        listed: records whose mark was empty, as many as FileMaker counted.
        containers: of the profile, best first.
        missing: those of them that the layout does not have.
        outcomes: by record id.
        left: records that are left for later runs.
        all_runs: how many images came from which container in all runs so far, this one included.
        stopped: why the run ended before its list did.
        dry_run: nothing was downloaded or written, and imported means "would be tried, this container first".
    """

    listed: int = 0
    containers: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    outcomes: dict[int, RecordOutcome] = field(default_factory=dict)
    left: int = 0
    all_runs: dict[str, int] = field(default_factory=dict)
    stopped: PipelineError | None = None
    dry_run: bool = False

    def count(self, kind: OutcomeKind) -> int:
        """Records that ended so."""
        return sum(end.kind == kind for end in self.outcomes.values())

    def reasons(self, kind: OutcomeKind) -> dict[str, int]:
        """How many by reason, most first."""
        return dict(Counter(end.reason for end in self.outcomes.values() if end.kind == kind).most_common())

    def ids(self, kind: OutcomeKind) -> dict[str, list[int]]:
        """Return the first record ids by reason, at most `LISTED` of each; the ledger has all."""
        found: dict[str, list[int]] = {}
        for record_id, end in sorted(self.outcomes.items()):
            if end.kind == kind:
                found.setdefault(end.reason, []).append(record_id)
        return {reason: listed[:LISTED] for reason, listed in found.items()}

    def by_container(self) -> list[tuple[str, int, float]]:
        """How many images came from which container, best first, with the percentage of those imported."""
        return self._shares(Counter(end.container for end in self.outcomes.values() if end.kind == "imported"))

    def by_container_in_all_runs(self) -> list[tuple[str, int, float]]:
        """The same over all runs so far."""
        return self._shares(self.all_runs)

    def _shares(self, counts: Mapping[str, int]) -> list[tuple[str, int, float]]:
        whole = sum(counts.values())
        names = dict.fromkeys([*self.containers, *self.all_runs, *counts])  # a profile's containers may have changed
        found = [(name, counts.get(name, 0)) for name in names]
        return [(name, images, 100 * images / whole if whole else 0.0) for name, images in found]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: counts, names of containers, reasons, and record ids of what failed."""
        return {
            "listed": self.listed,
            "left": self.left,
            "outcomes": {kind: self.count(kind) for kind in OUTCOME_KINDS},
            "containers": {name: images for name, images, _ in self.by_container() if images},
            "reasons": self.reasons("skipped") | self.reasons("failed"),
            "failed": self.ids("failed"),
            "stopped": str(self.stopped or ""),
        }

    def passed_over(self) -> dict[str, int]:
        """Better containers that could not be read: how many, by container and reason."""
        found = Counter(f"{name}: {why}" for end in self.outcomes.values() for name, why in end.passed_over.items())
        return dict(found.most_common())
