"""Both systems of a small clinic, and the model that is kept equal to them."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from fm_pipeline.filemaker.door import DoorKind
from fm_pipeline_tests.sequence.nights_model import Model, Row, Values
from fm_pipeline_tests.support.clinics import DATABASE, RUN_TIME, MigrationBench

TABLES = {"patient": "patients", "appointment": "appointments", "note": "notes", "sms_message": "sms_messages"}
LAYOUTS = {"patient": "Patients", "appointment": "Appointments", "note": "Notes", "sms_message": "Messages"}
FIELDS = {
    "patient": ("id", "first_name", "last_name", "dob", "coordinator_name", "middle_names", "modified"),
    "appointment": ("id", "patient", "start", "notes", "modified"),
    "note": ("id", "patient", "content", "modified"),
    "sms_message": ("id", "patient", "phone_number", "message", "modified"),
}
RULES = """
patient_unknown: {action: quarantine, stop_above: 1}
patient_without_clinic: {action: flag}
appointment_without_clinic: {action: flag}
appointment_without_clinician: {action: flag}
appointment_without_type: {action: flag}
"""
STRICT_RULES = RULES
RULES += """
source_empty: {may_be_empty: [appointment, note, sms_message]}
source_shrunk: {least_of: {patient: 0, appointment: 0, note: 0, sms_message: 0}}
"""
DOORS: tuple[DoorKind, ...] = ("data_api", "odata")
POLICIES = ("nexus", "filemaker", "newer")
ID = "(SELECT nexus_id FROM fm_pipeline.crosswalk WHERE entity = %s AND filemaker_key = %s)"
LINKS = "SELECT entity, filemaker_key, nexus_id FROM fm_pipeline.crosswalk ORDER BY 1, 2"


def profile_of(columns: Mapping[str, Sequence[str]]) -> str:
    """Return the profile that feeds these columns of Nexus, by entity."""
    text = ""
    for kind, names in columns.items():
        more = [name for name in FIELDS[kind] if name in ("first_name", "dob", "start", "phone_number")]
        fields = ", ".join(["filemaker_id: [id]", *(f"{name}: [{name}]" for name in [*more, *names])])
        ids = ", ids: [Appointments]" if kind == "appointment" else ""
        text += f"{kind}: {{layout: [{LAYOUTS[kind]}], sync: {{modified: [modified]{ids}}}, fields: {{{fields}}}}}\n"
    return text


@dataclass
class State:
    """What is known of both systems.

    Attributes:
        texts: how many have been made.
        inserted: records by kind; their ids are given one after the other.
        backup: the folder of the last one, and what Nexus was then.
    """

    model: Model = field(default_factory=Model)
    texts: int = 0
    inserted: Counter[str] = field(default_factory=Counter)
    backup: tuple[Path, Model] | None = None


class Systems:
    """Writes to FileMaker or Nexus, and to the model of them.

    Attributes:
        now: the day.
    """

    bench: MigrationBench

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state
        self.now = RUN_TIME

    @property
    def model(self) -> Model:
        """What both systems must be."""
        return self.state.model

    @property
    def database(self) -> str:
        """Name of Nexus' database."""
        return self.bench.database_url.rsplit("/", 1)[1]

    def set_clock(self, now: dt.datetime) -> None:
        """Let the day be that of a moment; records that are edited get its time."""
        self.now = now

    def compare(self) -> None:
        """Compare Nexus with the model, row by row."""
        for kind, columns in self.model.columns.items():
            names = ", ".join("p.filemaker_key" if name == "patient" else f"t.{name}" for name in columns)
            join = " JOIN fm_pipeline.crosswalk p ON p.entity = 'patient' AND p.nexus_id = t.patient_id"
            rows = self.bench.execute(
                f"SELECT coalesce(c.filemaker_key, t.id::text), {names} FROM {TABLES[kind]} t"  # noqa: S608
                " LEFT JOIN fm_pipeline.crosswalk c ON c.entity = %s AND c.nexus_id = t.id"
                f"{join if kind != 'patient' else ''}",
                kind,
            )
            found = {key: dict(zip(columns, values, strict=True)) for key, *values in rows}
            expected = {row.key: row.nexus for row in self.model.of(kind) if row.nexus}
            if kind == "note":
                expected |= {own: {"patient": patient, "content": own} for own, patient in self.model.made.items()}
            assert len(found) == len(rows)
            assert found == expected

    def last_sync(self) -> str:
        """Return the id of the last sync that has changed Nexus."""
        query = "SELECT id::text FROM fm_pipeline.syncs s WHERE EXISTS"
        query += " (SELECT FROM fm_pipeline.sync_changes c WHERE c.sync_id = s.id) ORDER BY number DESC LIMIT 1"
        return str(self.bench.execute(query)[0][0])

    def choose(self, which: int, *, fm: bool = False, nexus: bool = False) -> Row | None:
        rows = [row for row in self.model.rows.values() if (row.fm or not fm) and (row.nexus or not nexus)]
        return rows[which % len(rows)] if rows else None

    def editable(self, row: Row, column: int) -> str:
        names = [name for name in self.model.columns[row.kind] if name != "patient"]
        return names[column % len(names)]

    def insert_fm(self, row: Row, values: Values) -> None:
        more = {
            "id": row.key.upper(),
            "first_name": "Jo",
            "middle_names": "Jo",
            "phone_number": "1",
            "dob": "1950-02-03",
            "start": "2025-03-04T09:00:00",
            "modified": self._stamp(row),
        }
        record = {field: {**more, **values}[field] for field in FIELDS[row.kind]}
        self.bench.store.insert(DATABASE, LAYOUTS[row.kind], [record])
        self.state.inserted[row.kind] += 1
        row.record_id, row.fm = self.state.inserted[row.kind], values

    def delete_fm(self, row: Row) -> None:
        self.bench.store.delete(DATABASE, LAYOUTS[row.kind], row.record_id)
        self.forget_fm(row)

    def forget_fm(self, row: Row) -> None:
        row.fm = None
        if row.nexus is None and row.base is None:
            del self.model.rows[row.key]

    def write_fm(self, row: Row, name: str, value: str) -> None:
        assert row.fm is not None
        changed = {name: value, "modified": self._stamp(row)}
        self.bench.store.edit(DATABASE, LAYOUTS[row.kind], row.record_id, changed)
        row.fm = {**row.fm, name: value}

    def write_id(self, row: Row) -> None:
        changed = {"id": row.key, "modified": self._stamp(row)}
        self.bench.store.edit(DATABASE, LAYOUTS[row.kind], row.record_id, changed)

    def write_nexus(self, row: Row, name: str, value: str | None) -> None:
        """Save a value an hour before or after FileMaker's edits of the day."""
        assert row.nexus is not None
        row.saved = self.now + dt.timedelta(hours=8 if self.state.texts % 2 else 10)
        stamp = "" if row.kind == "sms_message" else ", updated_at = %s"
        values = [value] if row.kind == "sms_message" else [value, row.saved]
        self.bench.execute(
            f"UPDATE {TABLES[row.kind]} SET {name} = %s{stamp} WHERE id = {ID}",  # noqa: S608
            *(*values, row.kind, row.key),
        )
        row.nexus = {**row.nexus, name: value}

    def _stamp(self, row: Row) -> str:
        """Return the time of the day in the clinic, as FileMaker would enter it."""
        row.modified = self.now + dt.timedelta(hours=9)
        return row.modified.astimezone(ZoneInfo(self.bench.settings.clinic_time_zone)).strftime("%Y-%m-%dT%H:%M:%S")

    def key(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, self.text()))

    def text(self) -> str:
        self.state.texts += 1
        return f"text {self.state.texts}"

    def write_profile(self) -> None:
        Path(self.bench.settings.filemaker_profile).write_text(profile_of(self.model.columns))

    def end_sessions(self) -> None:
        self.bench.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
