"""A small clinic in both systems, edited by day and synced by night, beside a model of it."""

from __future__ import annotations

import copy
import datetime as dt
import itertools
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fm_pipeline.errors import DatabaseError, FileMakerError, PlanStop, RequestError, StagingStop
from fm_pipeline.filemaker.door import DoorKind
from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline.sequence.reimport import reimport
from fm_pipeline.sequence.sync import SyncResult, sync_staged
from fm_pipeline.sequence.undo_sync import undo_sync
from fm_pipeline.staging.parallel import OnStep
from fm_pipeline_tests.sequence.killing import die, kill, kill_after_commit
from fm_pipeline_tests.sequence.nights_model import Outcome, Row, Values
from fm_pipeline_tests.sequence.nights_systems import DOORS, ID, LAYOUTS, LINKS, POLICIES, TABLES, State, Systems
from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench

NIGHTS = 14
NUMBER = st.integers(0, 999)  # chooses among what there is
MOST_STEPS, MOST_REQUESTS = 12, 20  # of a reading, at which it is killed or fails

_by_night = precondition(lambda clinic: clinic.nights_left > 0)


class Clinic(Systems, RuleBasedStateMachine):
    """Both systems of a small clinic and the model of them.

    Args:
        open_bench: opens both systems, with FileMaker behind a door.
        seen: counts what has happened.
        start: the state of the clinic whose copies these systems are; None if they are empty.
        nights: how many are lived through; what comes after them is not looked at.
    """

    def __init__(
        self,
        open_bench: Callable[[DoorKind], AbstractContextManager[MigrationBench]],
        seen: Counter[str],
        start: State | None = None,
        nights: int = NIGHTS,
    ) -> None:
        super().__init__(copy.deepcopy(start) or State())
        self._open_bench, self._end = open_bench, ExitStack()
        self.seen, self.nights_left, self._is_copy = seen, nights, start is not None

    @initialize(door=st.sampled_from(DOORS))
    def begin(self, door: DoorKind) -> None:
        """Let there be a clinic after its first reimport."""
        self.bench = self._end.enter_context(self._open_bench(door))
        if self._is_copy:
            self.seen[door] += 1
            return
        for _ in range(6):
            self.fm_insert(0, 0)
        for number in range(6):
            self.fm_insert(1, number)
            self.fm_insert(2, number)
        self._reimport(replace=False)

    def teardown(self) -> None:
        self._end.close()

    # -- by day

    @rule(kind=NUMBER, number=NUMBER)
    def fm_insert(self, kind: int, number: int) -> None:
        name = list(self.model.columns)[kind % len(self.model.columns)]
        patients = [row.key for row in self.model.of("patient") if row.fm]
        if name != "patient" and not patients:
            return
        values: Values = {column: self.text() for column in self.model.columns[name]}
        if name != "patient":
            values["patient"] = patients[number % len(patients)]
        row = Row(name, self.key())
        self.insert_fm(row, values)
        self.model.rows[row.key] = row

    @rule(which=NUMBER, column=NUMBER)
    def fm_edit(self, which: int, column: int) -> None:
        if row := self.choose(which, fm=True):
            self.write_fm(row, self.editable(row, column), self.text())

    @rule(which=NUMBER, to=NUMBER)
    def fm_move(self, which: int, to: int) -> None:
        """Give a record to another patient."""
        patients = [row.key for row in self.model.of("patient") if row.fm]
        children = [row for row in self.model.rows.values() if row.fm and row.kind != "patient"]
        if children and patients:
            self.write_fm(children[which % len(children)], "patient", patients[to % len(patients)])

    @rule(which=NUMBER)
    def fm_recreate(self, which: int) -> None:
        """Delete a record and make another one of the same id."""
        if row := self.choose(which, fm=True):
            self.bench.store.delete(DATABASE, LAYOUTS[row.kind], row.record_id)
            self.insert_fm(row, {n: value if n == "patient" else self.text() for n, value in (row.fm or {}).items()})

    @rule(which=NUMBER)
    def fm_rekey(self, which: int) -> None:
        """Give a record another id: to everybody else it is another record."""
        rows = [row for row in self.model.rows.values() if row.fm and row.kind != "patient"]
        if rows:
            row = rows[which % len(rows)]
            renamed = Row(row.kind, self.key(), row.record_id, row.fm)
            self.write_id(renamed)
            self.forget_fm(row)
            self.model.rows[renamed.key] = renamed

    @rule(which=NUMBER, other=NUMBER)
    def fm_exchange_ids(self, which: int, other: int) -> None:
        """Let two appointments have each other's id, of which Nexus has each once."""
        rows = [row for row in self.model.of("appointment") if row.fm]
        if len(rows) > 1 and (one := rows[which % len(rows)]) is not (two := rows[other % len(rows)]):
            one.fm, two.fm, one.record_id, two.record_id = two.fm, one.fm, two.record_id, one.record_id
            self.write_id(one)
            self.write_id(two)

    @rule(which=NUMBER, to=NUMBER)
    def fm_merge(self, which: int, to: int) -> None:
        """Make two patients one: the records of the first go to the other, and the first is deleted."""
        patients = [row for row in self.model.of("patient") if row.fm]
        if len(patients) < 3 or (gone := patients[which % len(patients)]) is (stays := patients[to % len(patients)]):
            return
        for row in list(self.model.rows.values()):
            if row.fm and row.fm.get("patient") == gone.key:
                self.write_fm(row, "patient", stays.key)
        self.delete_fm(gone)

    @rule(which=NUMBER, with_children=NUMBER)
    def fm_delete(self, which: int, with_children: int) -> None:
        row = self.choose(which, fm=True)
        if row is None or (row.kind == "patient" and sum(p.fm is not None for p in self.model.of("patient")) < 3):
            return
        for each in list(self.model.rows.values()):
            if each is row or (with_children % 4 and each.fm and each.fm.get("patient") == row.key):
                self.delete_fm(each)

    @rule(which=NUMBER, column=NUMBER)
    def nexus_edit(self, which: int, column: int) -> None:
        if row := self.choose(which, nexus=True):
            self.write_nexus(row, self.editable(row, column), self.text())

    @rule(which=NUMBER)
    def nexus_revert(self, which: int) -> None:
        """Give an edited value back what FileMaker has."""
        rows = [row for row in self.model.rows.values() if row.fm and row.nexus and row.fm != row.nexus]
        if rows:
            row = rows[which % len(rows)]
            for name, value in (row.fm or {}).items():
                if name != "patient":
                    self.write_nexus(row, name, value)

    @rule(which=NUMBER, same=NUMBER)
    def both_edit(self, which: int, same: int) -> None:
        if row := self.choose(which, fm=True, nexus=True):
            name, text = self.editable(row, same), self.text()
            self.write_fm(row, name, text)
            self.write_nexus(row, name, text if same % 3 == 0 else self.text())

    @rule(which=NUMBER)
    def nexus_delete(self, which: int) -> None:
        row = self.choose(which, nexus=True)
        named = {*self.model.made.values(), *(r.nexus.get("patient") for r in self.model.rows.values() if r.nexus)}
        if row is None or row.key in named:
            return
        self.bench.execute(f"DELETE FROM {TABLES[row.kind]} WHERE id = {ID}", row.kind, row.key)  # noqa: S608
        row.nexus = None
        if row.base is None and row.fm is None:
            del self.model.rows[row.key]

    @rule(which=NUMBER)
    def nexus_insert(self, which: int) -> None:
        patients = [row for row in self.model.of("patient") if row.nexus]
        if not patients:
            return
        patient, own = patients[which % len(patients)], str(uuid.uuid5(uuid.NAMESPACE_URL, self.text()))
        self.bench.execute(
            "INSERT INTO notes (id, patient_id, note_type, content, created_at, updated_at)"  # noqa: S608
            f" VALUES (%s, {ID}, 'other', %s, now(), now())",
            *(own, "patient", patient.key, own),
        )
        self.model.made[own] = patient.key

    @rule(
        column=st.sampled_from(["patient.last_name", "appointment.notes", "note.content"]),
        side=st.sampled_from(POLICIES),
    )
    def set_policy(self, column: str, side: str) -> None:
        kind, _, name = column.partition(".")
        self.model.policies.setdefault(kind, {})[name] = side

    @rule()
    def add_column_to_profile(self) -> None:
        if "middle_names" not in self.model.columns["patient"]:
            self.model.add_column("patient", "middle_names")
            for row in self.model.of("patient"):
                if row.fm is not None:
                    row.fm = {**row.fm, "middle_names": "Jo"}
            self.write_profile()

    @rule()
    def add_table_to_profile(self) -> None:
        if "sms_message" not in self.model.columns:
            self.model.columns["sms_message"] = ("patient", "message")
            self.write_profile()

    # -- by night

    @_by_night
    @rule()
    def night(self) -> None:
        """Sync once, confirm what waits, and compare."""
        self._night(lambda: None)

    @_by_night
    @rule(which=NUMBER, column=NUMBER)
    def night_with_a_save(self, which: int, column: int) -> None:
        """Let a user save something between what is shown and its confirmation."""
        self._night(lambda: self.nexus_edit(which, column))

    @_by_night
    @rule()
    def night_with_a_restore(self) -> None:
        """Restore a backup between what is shown and its confirmation."""
        self._night(self.restore)

    @_by_night
    @rule(moment=NUMBER)
    def night_without_filemaker(self, moment: int) -> None:
        """Refuse the account from some request on."""
        self._begin_night("no FileMaker")
        self.bench.stand_in.disturb("unauthorized", times=None, after=moment % MOST_REQUESTS)
        with suppress(FileMakerError):
            self._read()
        self.bench.stand_in.faults()
        self.compare()

    @_by_night
    @rule(moment=NUMBER)
    def night_without_postgresql(self, moment: int) -> None:
        """Let PostgreSQL end all sessions in a phase of the transaction."""
        self._begin_night("no PostgreSQL")
        self._read()
        with pytest.raises(DatabaseError):
            self._sync_staged(on_phase=lambda record: self.end_sessions() if record.phase >= moment % 8 else None)
        self.compare()

    @_by_night
    @rule(moment=NUMBER)
    def night_that_is_killed_while_it_reads(self, moment: int) -> None:
        self._begin_night("killed at reading")
        steps = itertools.count()
        kill(lambda: self._read(lambda *_: die() if next(steps) == moment % MOST_STEPS else None))
        self.compare()

    @_by_night
    @rule(moment=NUMBER)
    def night_that_is_killed_in_a_phase(self, moment: int) -> None:
        self._begin_night("killed at phase")
        self._read()
        assert kill(lambda: self._sync_staged(on_phase=lambda record: die() if record.phase >= moment % 8 else None))
        self.compare()

    @_by_night
    @rule()
    def night_that_is_killed_after_its_commit(self) -> None:
        self._begin_night("killed at commit")
        self._read()
        expected = self.model.sync()
        if kill_after_commit(self._sync_staged):
            self.model.commit(expected, self.now)
        self.compare()

    @_by_night
    @rule()
    def night_without_notes(self) -> None:
        """Let the account see no note: none is deleted."""
        notes = [row for row in self.model.of("note") if row.fm]
        if not any(row.nexus for row in notes):
            return
        self._begin_night("no notes")
        for row in notes:
            self.bench.store.delete(DATABASE, LAYOUTS["note"], row.record_id)
        usual = self.bench
        self.bench = usual.with_settings(rules_file=usual.settings.state_dir.parent / "strict.yaml")
        self._read()
        with pytest.raises(StagingStop, match="source_empty"):
            self._sync_staged()
        self.bench = usual
        self.compare()
        for row in notes:
            self.insert_fm(row, row.fm or {})

    @_by_night
    @rule(replace=st.booleans())
    def reimport(self, replace: bool) -> None:
        """Reimport, with or without what a sync has kept."""
        self._begin_night("reimport")
        self._reimport(replace=replace)

    @rule()
    def restore(self) -> None:
        """Restore the backup of the last reimport."""
        if self.state.backup:
            folder, before = self.state.backup
            patients = sum(row.nexus is not None for row in before.of("patient"))
            restore(self.bench.settings, folder, confirm=f"{self.database} {patients}")
            self.seen["restored"] += 1
            self.model.restore(before)
            self.compare()

    @rule()
    def undo(self) -> None:
        """Undo the last sync that changed Nexus, unless somebody has saved one of its rows since."""
        if not self.model.last:
            return
        refused = nullcontext() if self.model.may_be_undone else pytest.raises(RequestError)
        with refused:
            undo_sync(self.bench.settings, self.last_sync(), actor="nights", run_id="undo")
            self.seen["undone"] += 1
            self.model.undo()
        self.compare()

    def _begin_night(self, kind: str) -> None:
        self.now += dt.timedelta(days=1)
        self.nights_left -= 1
        self.seen[kind] += 1

    def _night(self, meanwhile: Callable[[], None]) -> None:
        """Sync once; `meanwhile` happens between what is shown and its confirmation."""
        self._begin_night("sync")
        result, expected = self._sync()
        if result.status == "waits":
            links = self.bench.execute(LINKS)
            meanwhile()
            expected = self._confirm_what_was_shown(result, expected, self.bench.execute(LINKS) == links)
        self.seen[result.status] += 1
        self.seen["deletions"] += len(expected.deletions)
        self.seen["conflicts"] += len(expected.conflicts)
        self.model.commit(expected, self.now)
        self.compare()

    def _sync(self) -> tuple[SyncResult, Outcome]:
        staged = self._read()
        self.seen["staged" if staged else "not staged"] += 1
        expected = self.model.sync()
        result = self._sync_staged(staged_again=staged)
        waits = bool(expected.deletions or expected.conflicts)
        assert {(each.filemaker_key, each.column) for each in result.conflicts} == expected.conflicts
        assert sum(map(len, result.deletions.values())) == len(expected.deletions)
        assert result.status == ("waits" if waits else "committed" if expected.changed else "nothing_new")
        return result, expected

    def _confirm_what_was_shown(self, result: SyncResult, shown: Outcome, has_same_links: bool) -> Outcome:
        """Let it go on; only what was shown may happen, and nothing if a restore has changed which row is whose."""
        now = self.model.sync()
        if now.conflicts <= shown.conflicts and now.deletions <= shown.deletions and has_same_links:
            self._confirm(result)
            return now
        with pytest.raises(PlanStop):
            self._confirm(result)
        self.compare()
        result, now = self._sync()
        if result.status == "waits":
            self._confirm(result)
        return now

    def _confirm(self, result: SyncResult) -> None:
        self._sync_staged(permission=Permission(result.id, result.confirmation, "nights"))

    def _sync_staged(self, **options: Any) -> SyncResult:
        return sync_staged(self.bench.settings, now=self.now, actor="nights", policies=self.model.policies, **options)

    def _read(self, on_step: OnStep = lambda *_: None) -> bool:
        return read_changes_and_stage(self.bench.settings, now=lambda: self.now, on_step=on_step)

    def _reimport(self, *, replace: bool) -> None:
        bench = self.bench.with_settings(nexus_sync_edits="replace" if replace else "keep")
        plan = bench.extract_and_stage().plan(self.now)
        self.state.backup = make_backup(bench.settings, now=self.now).folder, copy.deepcopy(self.model)
        expected = self.model.reimport(replace=replace)
        report = reimport(bench.settings, now=self.now, permission=bench.permission(plan))
        assert {(each["filemaker_key"], each["column"]) for each in report.kept_edits} == expected.kept
        self.model.commit(expected, self.now, reimported=True)
        self.compare()
