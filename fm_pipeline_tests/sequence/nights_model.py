"""What a sync must do, as a small model in Python: it decides row by row and knows no SQL.

A row is a record of FileMaker, a row of Nexus, or both. `patient` of an appointment or note is the key of its patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

Values = dict[str, str]
COLUMNS = {
    "patient": ("last_name", "coordinator_name"),
    "appointment": ("patient", "notes"),
    "note": ("patient", "content"),
}
NEXUS_NAMES = {"patient": "patient_id"}


@dataclass
class Row:
    """One record and its row.

    Attributes:
        base: what FileMaker and Nexus had after the last commit; None before the first one.
    """

    kind: str
    key: str
    record_id: int = 0
    fm: Values | None = None
    nexus: Values | None = None
    base: tuple[Values, Values] | None = None
    is_known_gone: bool = False  # a sync has kept it without a record

    @property
    def edited(self) -> bool:
        """Whether Nexus has something else than it had from FileMaker."""
        return self.base is not None and (self.nexus != self.base[1] or self.base[0] != self.base[1])


@dataclass
class Night:
    """What a sync decides."""

    after: dict[str, Values | None] = field(default_factory=dict)  # of Nexus, by key
    conflicts: set[tuple[str, str]] = field(default_factory=set)  # key, column
    deletions: set[str] = field(default_factory=set)
    changed: int = 0


@dataclass
class Model:
    """Both systems. `made` are rows that users made in Nexus: their patient's key by their id."""

    rows: dict[str, Row] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    def of(self, kind: str) -> Iterator[Row]:
        """Return the rows of a kind, in a fixed order."""
        return (row for row in self.rows.values() if row.kind == kind)

    def staged(self, row: Row) -> bool:
        """Return whether the record passes the rules: its patient is a record too."""
        if row.fm is None:
            return False
        patient = self.rows.get(row.fm.get("patient", ""))
        return row.kind == "patient" or (patient is not None and patient.fm is not None)

    def decide(self) -> Night:
        """Decide about every row."""
        night, out = Night(), set()
        for kind in COLUMNS:
            for row in self.of(kind):
                if not self.staged(row):
                    continue
                assert row.fm is not None
                if row.nexus is None:
                    left_out = row.base is not None or row.fm.get("patient") in out
                    night.after[row.key] = None if left_out else dict(row.fm)
                    night.changed += not left_out
                    if left_out:
                        out.add(row.key)
                        if row.base is None or row.fm != row.base[0]:
                            night.conflicts.add((row.key, ""))
                else:
                    self._merge(row, out, night)
        self._delete(night)
        return night

    def _merge(self, row: Row, out: set[str], night: Night) -> None:
        assert row.fm is not None
        assert row.nexus is not None
        after = {}
        for name, desired in row.fm.items():
            now = row.nexus[name]
            after[name] = now
            if now == desired:
                continue
            if name == "patient" and desired in out:
                if row.base is None or desired != row.base[0][name]:
                    night.conflicts.add((row.key, NEXUS_NAMES[name]))
            elif row.base is None:
                pass
            elif now == row.base[1][name] == row.base[0][name]:
                after[name] = desired
            elif desired != row.base[0][name]:
                night.conflicts.add((row.key, NEXUS_NAMES.get(name, name)))
        night.after[row.key] = after
        night.changed += after != row.nexus

    def _delete(self, night: Night) -> None:
        """Decide about rows without a record, children first."""
        for kind in reversed(COLUMNS):
            for row in self.of(kind):
                if self.staged(row) or row.nexus is None:
                    continue
                night.after[row.key] = row.nexus
                if row.fm is not None or row.base is None or row.is_known_gone:
                    continue
                if row.edited or (kind == "patient" and row.key in self._named(night)):
                    night.conflicts.add((row.key, ""))
                else:
                    night.after[row.key] = None
                    night.deletions.add(row.key)

    def _named(self, night: Night) -> set[str]:
        """Return the patients that rows name after the night."""
        rows = (row for row in self.rows.values() if row.nexus is not None and row.key not in night.deletions)
        after = (night.after.get(row.key) or row.nexus or {} for row in rows)
        return {*self.made.values(), *(values.get("patient", "") for values in after)}

    def commit(self, night: Night) -> None:
        """Let the night have happened."""
        for row in list(self.rows.values()):
            if row.key in night.after:
                row.nexus = night.after[row.key]
            if self.staged(row) and row.nexus is not None and row.fm is not None:
                row.base = (dict(row.fm), dict(row.nexus))
            elif self.staged(row) and row.fm is not None:  # left out
                row.base = (dict(row.fm), dict(row.fm))
            row.is_known_gone = row.is_known_gone or ((row.key, "") in night.conflicts and row.fm is None)
            if row.fm is None and row.nexus is None:
                del self.rows[row.key]
