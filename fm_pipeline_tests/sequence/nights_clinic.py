"""A small clinic in both systems, edited by day and synced by night, beside a model of it."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections import Counter
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from fm_pipeline.errors import FileMakerError, PlanStop
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline.sequence.sync import SyncResult, sync_staged
from fm_pipeline.staging.parallel import OnStep
from fm_pipeline_tests.sequence.killing import die, kill, kill_after_commit
from fm_pipeline_tests.sequence.nights_model import COLUMNS, Model, Night, Row, Values
from fm_pipeline_tests.support.clinics import DATABASE, RUN_TIME, MigrationBench

TABLES = {"patient": "patients", "appointment": "appointments", "note": "notes"}
LAYOUTS = {"patient": "Patients", "appointment": "Appointments", "note": "Notes"}
FIELDS = {
    "patient": ("id", "first_name", "last_name", "dob", "coordinator_name", "modified"),
    "appointment": ("id", "patient", "start", "notes", "modified"),
    "note": ("id", "patient", "content", "modified"),
}

MOST_STEPS = 12  # of a reading, at which it is killed

_ID = "(SELECT nexus_id FROM fm_pipeline.crosswalk WHERE entity = %s AND filemaker_key = %s)"


class Clinic:
    """Both systems of a small clinic and the model of them."""

    def __init__(self, bench: MigrationBench, seen: Counter[str]) -> None:
        self.bench, self.model, self.seen = bench, Model(), seen
        self._texts = itertools.count(1)
        self._now = RUN_TIME
        self._inserted: Counter[str] = Counter()  # record ids are given one after the other
        for _ in range(6):
            self.fm_insert(0, 0)
        for number in range(6):
            self.fm_insert(1, number)
            self.fm_insert(2, number)
        bench.extract_and_stage().reimport()
        self.model.commit(self.model.decide())
        self.compare()

    def set_clock(self, now: dt.datetime) -> None:
        """Let the day be that of a moment; records that are edited get its time."""
        self._now = now

    # -- by day

    def fm_insert(self, kind: int, number: int) -> None:
        name = ("patient", "appointment", "note")[kind % 3]
        patients = [row.key for row in self.model.of("patient") if row.fm]
        if name != "patient" and not patients:
            return
        values = {column: self._text() for column in COLUMNS[name]}
        if name != "patient":
            values["patient"] = patients[number % len(patients)]
        row = Row(name, self._key())
        self._insert_fm(row, values)
        self.model.rows[row.key] = row

    def fm_edit(self, which: int, column: int) -> None:
        if row := self._choose(which, fm=True):
            self._write_fm(row, COLUMNS[row.kind][-1 if row.kind != "patient" else column % 2], self._text())

    def fm_move(self, which: int, to: int) -> None:
        patients = [row.key for row in self.model.of("patient") if row.fm]
        children = [row for row in self.model.rows.values() if row.fm and row.kind != "patient"]
        if children and patients:
            self._write_fm(children[which % len(children)], "patient", patients[to % len(patients)])

    def fm_recreate(self, which: int, _: int) -> None:
        """Delete a record and make another one of the same id."""
        if row := self._choose(which, fm=True):
            assert row.fm is not None
            self.bench.store.delete(DATABASE, LAYOUTS[row.kind], row.record_id)
            self._insert_fm(row, {name: row.fm[name] if name == "patient" else self._text() for name in row.fm})

    def fm_rekey(self, which: int, _: int) -> None:
        """Give a record another id: to everybody else it is another record."""
        rows = [row for row in self.model.rows.values() if row.fm and row.kind != "patient"]
        if rows:
            row = rows[which % len(rows)]
            renamed = Row(row.kind, self._key(), row.record_id, row.fm)
            self.bench.store.edit(
                DATABASE, LAYOUTS[row.kind], row.record_id, {"id": renamed.key, "modified": self._stamp()}
            )
            self._forget_fm(row)
            self.model.rows[renamed.key] = renamed

    def fm_merge(self, which: int, to: int) -> None:
        """Make two patients one: the records of the first go to the other, and the first is deleted."""
        patients = [row for row in self.model.of("patient") if row.fm]
        if len(patients) < 3 or (gone := patients[which % len(patients)]) is (stays := patients[to % len(patients)]):
            return
        for row in list(self.model.rows.values()):
            if row.fm and row.fm.get("patient") == gone.key:
                self._write_fm(row, "patient", stays.key)
        self._delete_fm(gone)

    def fm_delete(self, which: int, with_children: int) -> None:
        row = self._choose(which, fm=True)
        if row is None or (row.kind == "patient" and sum(p.fm is not None for p in self.model.of("patient")) < 3):
            return
        for each in list(self.model.rows.values()):
            if each is row or (with_children % 4 and each.fm and each.fm.get("patient") == row.key):
                self._delete_fm(each)

    def nexus_edit(self, which: int, column: int) -> None:
        if row := self._choose(which, nexus=True):
            self._write_nexus(row, COLUMNS[row.kind][-1 if row.kind != "patient" else column % 2], self._text())

    def nexus_revert(self, which: int, _: int) -> None:
        """Give an edited value back what FileMaker has."""
        rows = [row for row in self.model.rows.values() if row.fm and row.nexus and row.fm != row.nexus]
        if rows:
            row = rows[which % len(rows)]
            assert row.fm is not None
            for name in COLUMNS[row.kind]:
                if name != "patient":
                    self._write_nexus(row, name, row.fm[name])

    def both_edit(self, which: int, same: int) -> None:
        row = self._choose(which, fm=True, nexus=True)
        if row:
            name, text = COLUMNS[row.kind][-1], self._text()
            self._write_fm(row, name, text)
            self._write_nexus(row, name, text if same % 3 == 0 else self._text())

    def nexus_delete(self, which: int, _: int) -> None:
        row = self._choose(which, nexus=True)
        named = {*self.model.made.values(), *(r.nexus.get("patient") for r in self.model.rows.values() if r.nexus)}
        if row is None or row.key in named:
            return
        self.bench.execute(f"DELETE FROM {TABLES[row.kind]} WHERE id = {_ID}", row.kind, row.key)  # noqa: S608
        row.nexus = None
        if row.base is None and row.fm is None:
            del self.model.rows[row.key]

    def nexus_insert(self, which: int, _: int) -> None:
        patients = [row for row in self.model.of("patient") if row.nexus]
        if not patients:
            return
        patient, own = patients[which % len(patients)], str(uuid.uuid5(uuid.NAMESPACE_URL, self._text()))
        self.bench.execute(
            "INSERT INTO notes (id, patient_id, note_type, content, created_at, updated_at)"  # noqa: S608
            f" VALUES (%s, {_ID}, 'other', %s, now(), now())",
            *(own, "patient", patient.key, own),
        )
        self.model.made[own] = patient.key

    # -- by night

    def night(self, disturbance: str, number: int) -> None:
        """Sync once, disturbed or not, and compare."""
        self._now += dt.timedelta(days=1)
        self.seen[disturbance or "quiet"] += 1
        if disturbance == "outage":
            self._outage()
        if disturbance == "kill":
            self._kill(number)
        result, expected = self._sync()
        if result.status == "waits" and disturbance == "save":
            self.nexus_edit(number, number)
            expected = self._confirm_after_saves(result, expected)
        elif result.status == "waits":
            self._confirm(result)
        self.seen[result.status] += 1
        self.seen["deletions"] += len(expected.deletions)
        self.seen["conflicts"] += len(expected.conflicts)
        self.model.commit(expected)
        self.compare()

    def _sync(self) -> tuple[SyncResult, Night]:
        staged = self._read()
        self.seen["staged" if staged else "not staged"] += 1
        expected = self.model.decide()
        result = sync_staged(self.bench.settings, now=self._now, actor="nights", staged_again=staged)
        self._agree(result, expected)
        return result, expected

    def _agree(self, result: SyncResult, expected: Night) -> None:
        waits = bool(expected.deletions or expected.conflicts)
        assert {(each.filemaker_key, each.column) for each in result.conflicts} == expected.conflicts
        assert sum(map(len, result.deletions.values())) == len(expected.deletions)
        assert result.status == ("waits" if waits else "committed" if expected.changed else "nothing_new")

    def _confirm(self, result: SyncResult) -> None:
        permission = Permission(result.id, result.confirmation, "nights")
        sync_staged(self.bench.settings, now=self._now, actor="nights", permission=permission)

    def _confirm_after_saves(self, result: SyncResult, shown: Night) -> Night:
        """Let it go on after a user has saved something: only what was shown may happen."""
        now = self.model.decide()
        if now.conflicts <= shown.conflicts and now.deletions <= shown.deletions:
            self._confirm(result)
            return now
        try:
            self._confirm(result)
        except PlanStop:
            self.compare()
        else:
            raise AssertionError("It went on with a conflict that nobody had seen.")
        result, now = self._sync()
        if result.status == "waits":
            self._confirm(result)
        return now

    def _outage(self) -> None:
        """FileMaker refuses the account: nothing is read, nothing changes."""
        wrong = self.bench.with_settings(filemaker_password=SecretStr("another"))
        try:
            read_changes_and_stage(wrong.settings, now=lambda: self._now)
        except FileMakerError:
            self.compare()
        else:
            raise AssertionError("It was read with a wrong password.")

    def _kill(self, number: int) -> None:
        """Kill a process while it reads, in a phase of its transaction, or right after its commit."""
        where, moment = ("reading", "phase", "commit")[number % 3], number // 3
        self.seen[f"killed at {where}"] += 1
        if where == "reading":
            steps = itertools.count()
            kill(lambda: self._read(lambda *_: die() if next(steps) == moment % MOST_STEPS else None))
            self.compare()
            return
        self._read()
        expected = self.model.decide()
        settings = self.bench.settings
        if where == "phase":
            assert kill(
                lambda: sync_staged(
                    settings,
                    now=self._now,
                    actor="killed",
                    on_phase=lambda record: die() if record.phase >= moment % 8 else None,
                )
            )
        elif kill_after_commit(lambda: sync_staged(settings, now=self._now, actor="killed")):
            self.model.commit(expected)
        self.compare()

    def _read(self, on_step: OnStep = lambda *_: None) -> bool:
        return read_changes_and_stage(self.bench.settings, now=lambda: self._now, on_step=on_step)

    # -- both

    def compare(self) -> None:
        """Compare Nexus with the model, row by row."""
        for kind, columns in COLUMNS.items():
            names = ", ".join("p.filemaker_key" if name == "patient" else f"t.{name}" for name in columns)
            join = (
                ""
                if kind == "patient"
                else " JOIN fm_pipeline.crosswalk p ON p.entity = 'patient' AND p.nexus_id = t.patient_id"
            )
            rows = self.bench.execute(
                f"SELECT coalesce(c.filemaker_key, t.id::text), {names} FROM {TABLES[kind]} t"  # noqa: S608
                f" LEFT JOIN fm_pipeline.crosswalk c ON c.entity = %s AND c.nexus_id = t.id{join}",
                kind,
            )
            found = {key: dict(zip(columns, values, strict=True)) for key, *values in rows}
            expected = {row.key: row.nexus for row in self.model.of(kind) if row.nexus}
            if kind == "note":
                expected |= {own: {"patient": patient, "content": own} for own, patient in self.model.made.items()}
            assert len(found) == len(rows)
            assert found == expected

    def _choose(self, which: int, *, fm: bool = False, nexus: bool = False) -> Row | None:
        rows = [row for row in self.model.rows.values() if (row.fm or not fm) and (row.nexus or not nexus)]
        return rows[which % len(rows)] if rows else None

    def _insert_fm(self, row: Row, values: Values) -> None:
        more = {
            "id": row.key.upper(),
            "first_name": "Jo",
            "dob": "1950-02-03",
            "start": "2025-03-04T09:00:00",
            "modified": self._stamp(),
        }
        record = {field: {**more, **values}[field] for field in FIELDS[row.kind]}
        self.bench.store.insert(DATABASE, LAYOUTS[row.kind], [record])
        self._inserted[row.kind] += 1
        row.record_id, row.fm = self._inserted[row.kind], values

    def _delete_fm(self, row: Row) -> None:
        self.bench.store.delete(DATABASE, LAYOUTS[row.kind], row.record_id)
        self._forget_fm(row)

    def _forget_fm(self, row: Row) -> None:
        row.fm = None
        if row.nexus is None and row.base is None:
            del self.model.rows[row.key]

    def _write_fm(self, row: Row, name: str, value: str) -> None:
        assert row.fm is not None
        self.bench.store.edit(DATABASE, LAYOUTS[row.kind], row.record_id, {name: value, "modified": self._stamp()})
        row.fm = {**row.fm, name: value}

    def _write_nexus(self, row: Row, name: str, value: str) -> None:
        assert row.nexus is not None
        self.bench.execute(f"UPDATE {TABLES[row.kind]} SET {name} = %s WHERE id = {_ID}", value, row.kind, row.key)  # noqa: S608
        row.nexus = {**row.nexus, name: value}

    def _stamp(self) -> str:
        """Return the time of the day in the clinic, as FileMaker would enter it."""
        noon = self._now.astimezone(ZoneInfo(self.bench.settings.clinic_time_zone)) + dt.timedelta(hours=9)
        return noon.strftime("%Y-%m-%dT%H:%M:%S")

    def _key(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, self._text()))

    def _text(self) -> str:
        return f"text {next(self._texts)}"
