"""What a staging test does again and again: put raw records in, build, and read what came out."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from fm_pipeline.entities.rules import Rules, load_rules
from fm_pipeline.staging.build import BuildResult, build
from fm_pipeline.staging.values.keys import as_key

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
PATIENT = "AAAAAAAA-0000-4000-8000-000000000001"  # upper case, as one of FileMaker's interfaces spells uuids
CLINIC_FILEMAKER_ID = "cccccccc-0000-4000-8000-000000000001"

Fields = Mapping[str, object]


def uuid_of(number: int) -> str:
    """A FileMaker id for a test."""
    return f"eeeeeeee-0000-4000-8000-{number:012}"


def a_patient(**fields: object) -> dict[str, object]:
    """A patient with nothing wrong."""
    return {
        "filemaker_id": PATIENT,
        "first_name": "Jo",
        "last_name": "Example",
        "clinic": "Newcastle",
        "funding": "NDIS",
    } | fields


def an_appointment(**fields: object) -> dict[str, object]:
    """An appointment with nothing wrong."""
    return {
        "filemaker_id": uuid_of(1),
        "patient": PATIENT,
        "clinic": "Newcastle",
        "clinician": "Pat O'Neil",
        "appointment_type": "Fitting",
        "start": "05/04/2026 09:30:00",
        "end": "05/04/2026 10:00:00",
        "status": "Booked",
    } | fields


class Staging:
    """The staging schema of one test."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def execute(self, statement: str, values: object = None) -> list[Any]:
        """Run a statement, commit, and give its rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)  # type: ignore[arg-type]
            rows = cursor.fetchall() if cursor.description else []
        self.connection.commit()
        return rows

    def add_names(self) -> None:
        """One of everything that is looked up."""
        self.add_clinic("Newcastle", CLINIC_FILEMAKER_ID)
        self.add_clinician("Pat O'Neil")
        self.execute(
            "INSERT INTO appointment_types VALUES (gen_random_uuid(), 'Fitting', 30, true, now(), now());"
            "INSERT INTO funding_sources VALUES (gen_random_uuid(), 'NDIS', 'NDIS', true, 1, now(), now())"
        )

    def add_clinic(self, name: str, filemaker_id: str | None = None) -> None:
        """A clinic of Nexus."""
        self.execute(
            "INSERT INTO clinics (id, name, filemaker_id, sms_reminders_enabled, created_at, updated_at)"
            " VALUES (gen_random_uuid(), %s, %s, false, now(), now())",
            (name, filemaker_id),
        )

    def add_clinician(self, name: str) -> None:
        """A clinician of Nexus."""
        self.execute(
            "INSERT INTO clinicians (id, full_name, active, created_at, updated_at)"
            " VALUES (gen_random_uuid(), %s, true, now(), now())",
            (name,),
        )

    def extract(self, entity: str, records: Iterable[Fields], *, fed: Collection[str] | None = None) -> None:
        """Put raw records in as an extraction does; record ids count from 1."""
        records = list(records)
        rows = [
            (
                entity,
                number,
                as_key(record.get("filemaker_id")) or None,
                as_key(record.get("patient")) or None,
                json.dumps(record),
            )
            for number, record in enumerate(records, start=1)
        ]
        if fed is None:
            fed = {name for record in records for name in record}
        with self.connection.cursor() as cursor:
            cursor.execute("DELETE FROM fm_pipeline.source_records WHERE entity = %s", (entity,))
            cursor.execute("DELETE FROM fm_pipeline.source_extractions WHERE entity = %s", (entity,))
            execute_values(
                cursor,
                "INSERT INTO fm_pipeline.source_records"
                " (entity, record_id, filemaker_key, patient_key, fields, mod_id) VALUES %s",
                rows,
                template="(%s, %s, %s, %s, %s, 0)",
                page_size=1000,
            )
            cursor.execute(
                "INSERT INTO fm_pipeline.source_extractions VALUES"
                " (%s, %s, 'nexus', 'API', 'test', null, now(), now(), %s, %s, %s, '')",
                (entity, str(uuid.uuid4()), len(records), len(records), sorted(fed)),
            )
        self.connection.commit()

    def build(self, entity: str, *, rules: Rules | None = None, minutes: int = 0) -> BuildResult:
        """Build an entity, some minutes after the others."""
        return build(
            self.connection,
            entity,
            rules=rules or load_rules(),
            run_id="run",
            now=NOW + timedelta(minutes=minutes),
            time_zone="Australia/Sydney",
        )

    def stage(self, entity: str, *records: Fields, fed: Collection[str] | None = None) -> BuildResult:
        """Extract and build."""
        self.extract(entity, records, fed=fed)
        return self.build(entity)

    def rows(self, table: str, *columns: str) -> list[Any]:
        """Columns of a staged table, by record id; of one column the bare values."""
        rows = self.execute(f"SELECT {', '.join(columns)} FROM fm_pipeline.{table} ORDER BY record_id")  # noqa: S608
        return [row[0] for row in rows] if len(columns) == 1 else rows

    def ends(self, entity: str) -> dict[int, str]:
        """How each record ended: `ready`, or the rule that keeps it out."""
        return dict(
            self.execute(
                "SELECT record_id, coalesce(rule, outcome) FROM fm_pipeline.staged_outcomes WHERE entity = %s"
                " ORDER BY record_id",
                (entity,),
            )
        )

    def findings(self, entity: str) -> list[tuple[int, str, str]]:
        """Record id, rule and field of everything that was noticed."""
        return self.execute(
            "SELECT record_id, rule, field FROM fm_pipeline.staged_findings WHERE entity = %s ORDER BY 1, 2, 3",
            (entity,),
        )
