"""What a sync, a reimport and a restore must do, as a small model in Python: it decides row by row and knows no SQL.

A row is a record of FileMaker, a row of Nexus, or both. `patient` of an appointment or note is the key of its patient.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field

Values = dict[str, str | None]
COLUMNS = {
    "patient": ("last_name", "coordinator_name"),
    "appointment": ("patient", "notes"),
    "note": ("patient", "content"),
}
NEXUS_NAMES = {"patient": "patient_id"}


@dataclass(frozen=True)
class Base:
    """What both systems had after the last commit.

    Attributes:
        unknown: columns in which they differ, and nobody knows who changed it.
    """

    fm: Values
    nexus: Values
    unknown: frozenset[str] = frozenset()

    def keeps(self, name: str) -> bool:
        """Whether a sync has kept a user's value."""
        return name not in self.unknown and self.nexus.get(name) != self.fm.get(name)

    def knows(self, name: str, now: str | None) -> bool:
        """Whether it can be told who has changed a value."""
        return name in self.nexus and not (name in self.unknown and now == self.nexus[name])


@dataclass
class Row:
    """One record and its row.

    Attributes:
        base: None before the first commit.
        modified, saved: when FileMaker's record and Nexus' row were last written.
    """

    kind: str
    key: str
    record_id: int = 0
    fm: Values | None = None
    nexus: Values | None = None
    base: Base | None = None
    is_known_gone: bool = False  # a sync has kept it without a record
    modified: dt.datetime | None = None
    saved: dt.datetime | None = None

    @property
    def edited(self) -> bool:
        """Whether Nexus has something else than it had from FileMaker."""
        base, now = self.base, self.nexus or {}
        return base is not None and (base.fm != base.nexus or any(now[name] != base.nexus[name] for name in base.nexus))


@dataclass
class Outcome:
    """What a sync or a reimport decides."""

    after: dict[str, Values | None] = field(default_factory=dict)  # of Nexus, by key
    conflicts: set[tuple[str, str]] = field(default_factory=set)  # key, column
    deletions: set[str] = field(default_factory=set)
    kept: set[tuple[str, str]] = field(default_factory=set)  # of a reimport
    changed: int = 0


@dataclass(frozen=True)
class Change:
    """What the last sync that changed Nexus did to a row."""

    kind: str
    before: Values | None
    saved_before: dt.datetime | None
    after: Values | None


@dataclass
class Model:
    """Both systems.

    Attributes:
        made: rows that users made in Nexus: their patient's key by their id.
        last: what the last sync changed, by key; empty if a reimport, a restore, an undo or a column came after it.
        committed: when.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(COLUMNS))
    policies: dict[str, dict[str, str]] = field(default_factory=dict)
    last: dict[str, Change] = field(default_factory=dict)
    committed: dt.datetime | None = None

    def of(self, kind: str) -> Iterator[Row]:
        """Return the rows of a kind, in a fixed order."""
        return (row for row in self.rows.values() if row.kind == kind)

    def staged(self, row: Row) -> bool:
        """Return whether the record passes the rules: its patient is a record too."""
        if row.fm is None:
            return False
        patient = self.rows.get(row.fm.get("patient") or "")
        return row.kind == "patient" or (patient is not None and patient.fm is not None)

    def sync(self) -> Outcome:
        """Decide what a sync does with every row."""
        night, out = Outcome(), set()
        for kind in self.columns:
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
                        if row.base is None or row.fm != row.base.fm:
                            night.conflicts.add((row.key, ""))
                else:
                    self._merge(row, out, night)
        self._delete(night)
        return night

    def reimport(self, *, replace: bool) -> Outcome:
        """Decide what a reimport does: Nexus becomes FileMaker, but for what a sync has kept."""
        outcome = Outcome()
        for row in self.rows.values():
            outcome.after[row.key] = dict(row.fm) if row.fm is not None and self.staged(row) else None
            for name, desired in (outcome.after[row.key] or {}).items():
                if row.nexus is None or row.base is None or row.nexus[name] == desired or not row.base.keeps(name):
                    continue
                if name == "patient" and not self.staged(self.rows[row.nexus[name] or ""]):
                    continue
                outcome.kept.add((row.key, NEXUS_NAMES.get(name, name)))
                if not replace:
                    outcome.after[row.key] = {**(outcome.after[row.key] or {}), name: row.nexus[name]}
        return outcome

    def commit(self, outcome: Outcome, now: dt.datetime, *, reimported: bool = False) -> None:
        """Let it have happened."""
        changes = {}
        for row in list(self.rows.values()):
            before, row.nexus = row.nexus, outcome.after.get(row.key, row.nexus)
            if row.nexus != before:
                changes[row.key] = Change(row.kind, before, row.saved, row.nexus)
                row.saved = now
            if self.staged(row) and row.nexus is not None and row.fm is not None:
                base = row.base or Base({}, {})
                differ = [name for name in row.fm if row.fm[name] != row.nexus[name]]
                unknown = frozenset(name for name in differ if not base.knows(name, row.nexus[name]))
                row.base = Base(dict(row.fm), dict(row.nexus), unknown)
                row.is_known_gone = False
            elif self.staged(row) and row.fm is not None:  # left out
                row.base = Base(dict(row.fm), dict(row.fm))
            elif reimported:
                row.base = None
            row.is_known_gone = row.is_known_gone or ((row.key, "") in outcome.conflicts and row.fm is None)
            if row.fm is None and row.nexus is None:
                del self.rows[row.key]
        if reimported:
            self.made, self.last = {}, {}
        elif changes:
            self.last, self.committed = changes, now

    @property
    def may_be_undone(self) -> bool:
        """Whether nobody has saved anything since the last sync that undoing it would undo too."""
        for key, change in self.last.items():
            row = self.rows.get(key, Row(change.kind, key))
            if row.nexus != change.after or (row.nexus is not None and row.saved != self.committed):
                return False
        others = (row.nexus.get("patient") for row in self.rows.values() if row.nexus and row.key not in self.last)
        return not {*self.made.values(), *others} & {key for key, change in self.last.items() if change.before is None}

    def undo(self) -> None:
        """Let the last sync not have happened, but for what both systems had after it."""
        for key, change in self.last.items():
            row = self.rows.setdefault(key, Row(change.kind, key))
            row.nexus, row.saved = change.before, change.saved_before
        self.last = {}

    def restore(self, backup: Model) -> None:
        """Let Nexus be what it was. What both systems had after the last commit stays as it is."""
        self.made, self.last = dict(backup.made), {}
        for key, before in backup.rows.items():
            if before.nexus is not None and key not in self.rows:
                self.rows[key] = Row(before.kind, key)
        for key, row in list(self.rows.items()):
            before = backup.rows.get(key, Row(row.kind, key))
            row.nexus, row.saved = copy.copy(before.nexus), before.saved
            if row.nexus is not None:
                for name in self.columns[row.kind]:
                    row.nexus.setdefault(name, None)
            if row.nexus is None and row.fm is None and row.base is None:
                del self.rows[key]

    def add_column(self, kind: str, name: str) -> None:
        """Let the profile have one more column, which Nexus has been without."""
        self.columns[kind] += (name,)
        self.last = {}
        for row in self.of(kind):
            if row.nexus is not None:
                row.nexus[name] = None

    def _merge(self, row: Row, out: set[str], night: Outcome) -> None:
        assert row.fm is not None
        assert row.nexus is not None
        after = {}
        for name, desired in row.fm.items():
            now, base = row.nexus[name], row.base
            policy = self.policies.get(row.kind, {}).get(name, "nexus")
            after[name] = desired if policy == "filemaker" else now
            if now == desired:
                continue
            if name == "patient" and desired in out:
                after[name] = now
                if base is None or desired != base.fm[name]:
                    night.conflicts.add((row.key, NEXUS_NAMES[name]))
            elif base is None or not base.knows(name, now):
                pass
            elif now == base.nexus[name] == base.fm[name]:
                after[name] = desired
            elif desired != base.fm[name]:
                night.conflicts.add((row.key, NEXUS_NAMES.get(name, name)))
                is_newer = row.modified is not None and row.saved is not None and row.modified > row.saved
                if policy == "newer" and is_newer:
                    after[name] = desired
        night.after[row.key] = after
        night.changed += after != row.nexus

    def _delete(self, night: Outcome) -> None:
        """Decide about rows without a record, children first."""
        for kind in reversed(self.columns):
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

    def _named(self, night: Outcome) -> set[str | None]:
        """Return the patients that rows name after the night."""
        rows = (row for row in self.rows.values() if row.nexus is not None and row.key not in night.deletions)
        after = (night.after.get(row.key) or row.nexus or {} for row in rows)
        return {*self.made.values(), *(values.get("patient") for values in after)}
