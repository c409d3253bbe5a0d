"""The report of a reimport, as data, JSON and Markdown: counts, rule ids and record ids, no patient data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from fm_pipeline.nexus.checks import Check
from fm_pipeline.nexus.reimport.losses import losses, stays
from fm_pipeline.nexus.reimport.relink import REASONS, RelinkResult


@dataclass(frozen=True)
class TableChange:
    """Number of rows of one Nexus table before and after, and what was done to them.

    Attributes:
        without_filemaker_id: deleted rows that are linked to no FileMaker record, so that a reimport cannot bring
            them back.
        kept_out: deleted rows whose record FileMaker still has, and that a rule does not load.
        replaced: deleted rows whose record is loaded as another row, as of two patients with one FileMaker id.
        reset: updated rows that lose a value that only Nexus had.
    """

    table: str
    before: int
    deleted: int = 0
    inserted: int = 0
    updated: int = 0
    without_filemaker_id: int = 0
    reset: int = 0
    kept_out: int = 0
    replaced: int = 0

    @property
    def after(self) -> int:
        """Rows afterwards."""
        return self.before - self.deleted + self.inserted

    @property
    def unchanged(self) -> int:
        """Rows that were not touched."""
        return self.before - self.deleted - self.updated

    def as_dict(self) -> dict[str, int | str]:
        """Return the counts with the derived ones."""
        return asdict(self) | {"after": self.after, "unchanged": self.unchanged}


@dataclass(frozen=True)
class PhaseRecord:
    """One line of the progress log: what a phase did, its number of records, and its seconds."""

    phase: int
    sentence: str
    records: int
    seconds: float

    def line(self) -> str:
        """Return the line without a time, which every log adds itself."""
        return f"Phase {self.phase}: ✅ {self.sentence} ({self.seconds:.1f} s)"


@dataclass(frozen=True)
class SourceOutcomes:
    """Outcomes of the source rows of an entity; source = loaded + quarantined + skipped."""

    entity: str
    source: int
    loaded: int
    quarantined: int
    skipped: int
    by_rule: Mapping[str, int] = field(default_factory=dict)


@dataclass
class ReimportReport:
    """What a reimport or a plan did, or would do."""

    id: str
    run_id: str | None
    started_at: datetime
    phases: list[PhaseRecord] = field(default_factory=list)
    sources: list[SourceOutcomes] = field(default_factory=list)
    tables: dict[str, TableChange] = field(default_factory=dict)
    documents: RelinkResult | None = None
    batches: RelinkResult | None = None
    references: list[dict[str, Any]] = field(default_factory=list)
    patients_by: list[dict[str, str | int]] = field(default_factory=list)  # see `patient_counts.compare_counts`
    checks: list[Check] = field(default_factory=list)
    accepted: list[dict[str, str]] = field(default_factory=list)  # sources that are smaller, and RULES_FILE allows it
    restore: list[str] = field(default_factory=list)  # parts of a restore that the verification does not try
    left_out: list[str] = field(default_factory=list)  # what Nexus or FileMaker does not have of the profile
    kept_edits: list[dict[str, str | bool]] = field(default_factory=list)  # `nexus.sync.decisions.Decision`
    erased: list[str] = field(default_factory=list)  # Nexus ids of patients who were erased and are loaded again
    other_people: list[str] = field(default_factory=list)  # of patients whose names and date of birth all change
    warnings: list[str] = field(default_factory=list)  # of a sync: why it waits beside what it would change
    committed: bool = False

    @property
    def losses(self) -> list[str]:
        """Losses of data in sentences; see `fm_pipeline.nexus.reimport.losses`."""
        return losses(self._content())

    @property
    def seconds(self) -> float:
        """Of the transaction."""
        return sum(record.seconds for record in self.phases)

    @property
    def changed_rows(self) -> int:
        """Rows of Nexus that were written or deleted."""
        rows = sum(change.deleted + change.inserted + change.updated for change in self.tables.values())
        rows += sum(int(reference["repointed"]) + int(reference["set_to_null"]) for reference in self.references)
        files = [relinked for relinked in (self.documents, self.batches) if relinked]
        return rows + sum(relinked.relinked + relinked.settled for relinked in files)

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON: only numbers, names of tables and rules, and Nexus ids."""
        content = self._content()
        return {"losses": losses(content), "stays": stays(content), **content}

    def _content(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "run_id": self.run_id,
            "started_at": self.started_at.isoformat(),
            "committed": self.committed,
            "seconds": round(self.seconds, 3),
            "changed_rows": self.changed_rows,
            "phases": [asdict(record) for record in self.phases],
            "accepted": self.accepted,
            "sources": [asdict(ends) for ends in self.sources],
            "tables": [change.as_dict() for change in self.tables.values()],
            "documents": _relinked(self.documents),
            "image_batches": _relinked(self.batches),
            "references": self.references,
            "patients_by": self.patients_by,
            "restore": self.restore,
            "checks": [asdict(check) for check in self.checks],
            **({"left_out": self.left_out} if self.left_out else {}),
            **({"kept_edits": self.kept_edits} if self.kept_edits else {}),
            **({"erased": self.erased} if self.erased else {}),
            **({"other_people": self.other_people} if self.other_people else {}),
            **({"warnings": self.warnings} if self.warnings else {}),
        }

    def as_markdown(self) -> str:
        """Return the report for asset metadata and files. Losses come first; a dry run says what would be done."""
        would = "" if self.committed else "would be "
        parts = [
            "\n".join(f"- {sentence}" for sentence in [*self.losses, *stays(self._content()), *self.left_out]),
            _table(
                ("source", "rows", f"{would}loaded", "quarantined", "skipped"),
                [(e.entity, e.source, e.loaded, e.quarantined, e.skipped) for e in self.sources],
            ),
            _table(
                (
                    "Nexus table",
                    "before",
                    f"{would}deleted",
                    "of them without FileMaker id",
                    f"{would}inserted",
                    f"{would}updated",
                    "unchanged",
                    "after",
                ),
                [
                    (c.table, c.before, c.deleted, c.without_filemaker_id, c.inserted, c.updated, c.unchanged, c.after)
                    for c in self.tables.values()
                ],
            ),
        ]
        parts += [patients_by(self, kind) for kind in ("clinic", "funding")]
        files = [("documents", self.documents), ("image batches", self.batches)]
        parts.append(
            _table(
                ("files", "rows", "already linked", f"{would}relinked", "without patient", "FileMaker disagrees"),
                [(name, r.total, r.already, r.relinked, _unresolved(r), len(r.disagreeing)) for name, r in files if r],
            )
        )
        # Rows of other tables: a person has to know of an invoice or a message that would lose its patient.
        parts.append(
            _table(
                ("references in rows that stay", "to", f"{would}re-pointed", f"{would}set to NULL"),
                [(f"{r['table']}.{r['column']}", r["to"], r["repointed"], r["set_to_null"]) for r in self.references],
            )
        )
        reasons = [
            f"- {name}: {len(ids):,} — {REASONS[reason]}"
            for name, r in files
            if r
            for reason, ids in r.unresolved.items()
        ]
        parts += ["\n".join(reasons)] if reasons else []
        parts.append("\n".join(f"- Restore: {sentence}" for sentence in self.restore))
        parts.append(
            "\n".join(f"- {'✅' if check.holds else '❌'} `{check.name}`: {check.found}" for check in self.checks)
        )
        return "\n\n".join(part for part in parts if part)


def patients_by(report: ReimportReport, kind: str) -> str:
    """Return a Markdown table of patients by clinic or by funding source; empty if they were not counted."""
    return _table(
        (f"patients by {kind}", "before", "after" if report.committed else "would be"),
        [(_cell(str(row["name"])), row["before"], row["after"]) for row in report.patients_by if row["by"] == kind],
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _relinked(relinked: RelinkResult | None) -> dict[str, Any] | None:
    return asdict(relinked) | {"relinked": relinked.relinked} if relinked else None


def _unresolved(relinked: RelinkResult) -> int:
    return sum(len(ids) for ids in relinked.unresolved.values())


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table, numbers with thousands separators; empty without rows."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|"]
    lines += [
        "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row) + " |" for row in rows
    ]
    return "\n".join(lines)
