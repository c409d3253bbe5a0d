"""The reimport as the original import sequence writes it down: look up, create and save, one row after the other.

What Django sends for that pseudo-code, over psycopg2 as Django does, in autocommit as is Django's default. Wherever the
pseudo-code leaves a choice, it is made in favour of this way:

- the records come typed, cleaned and ready in memory, and every name as Nexus spells it (the oracle's rows);
- Django's own work (instances, signals, fields that are turned into values) is left out; only its SQL is here;
- "delete all patients" is one statement a table, where Django reads all rows first and deletes them in batches;
- image batches have no FileMaker id of their own in Nexus, so the one that the pseudo-code looks for is given;
- nothing is validated, counted, planned or backed up.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from one_reimport import NOW
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json, register_uuid

from fm_pipeline.sandbox.clinic.nexus.state import ANY, State

# Everything that points to a patient, children first: Django's cascade.
CASCADE = (
    "xero_invoice_items",
    "xero_invoices",
    "xero_contact_links",
    "audit_log",
    "sms_messages",
    "letters_patientletter",
    "reminders",
    "notes",
    "appointments",
    "patients",
)
LOOKED_UP = {
    "clinic_id": ("clinics", "name"),
    "funding_type_id": ("funding_sources", "name"),
    "clinician_id": ("clinicians", "full_name"),
    "appointment_type_id": ("appointment_types", "name"),
}
Values = dict[str, Any]


class RowByRow:
    """Phases 2 to 7, from the rows that the oracle foretells; none of them has its new id yet."""

    def __init__(self, wanted: State) -> None:
        self._patient_keys = {row["id"]: row["filemaker_metadata"]["filemaker_id"] for row in _rows(wanted, "patients")}
        self._names = {
            column: {row["id"]: row[name] for row in _rows(wanted, table)}
            for column, (table, name) in LOOKED_UP.items()
        }
        self._creates = {
            table: [self._as_filemaker_has_it(row) for row in _rows(wanted, table)]
            for table in ("patients", "appointments", "notes", "sms_messages")
        }
        self._relinks = {
            table: [
                (row["id"], self._patient_keys[row["object_id"]])
                for row in _rows(wanted, table)
                if row["object_id"] in self._patient_keys
            ]
            for table in ("documents_document", "images_batch")
        }

    def run(self, connection: Connection) -> None:
        """Do it."""
        connection.autocommit = True
        with connection.cursor() as cursor:
            register_uuid(conn_or_curs=cursor)  # type: ignore[no-untyped-call]
            cursor.execute("BEGIN; " + "; ".join(f"DELETE FROM {table}" for table in CASCADE) + "; COMMIT")  # noqa: S608
            for table, records in self._creates.items():
                for record in records:
                    _create(cursor, table, record)
            for table, links in self._relinks.items():
                for row_id, patient_key in links:
                    _relink(cursor, table, row_id, patient_key)

    def _as_filemaker_has_it(self, row: Values) -> Values:
        """A record without Nexus ids: names and the patient's FileMaker id in their place."""
        record = {column: _settled(value) for column, value in row.items() if column != "id"}
        for column, names in self._names.items():
            if record.get(column) is not None:
                record[column] = names[record[column]]
        if "patient_id" in record:
            record["patient_id"] = self._patient_keys[record["patient_id"]]
        return record


def _create(cursor: Cursor, table: str, record: Values) -> None:
    """`Model.objects.create(...)`, with its look-ups."""
    values = record | {"id": uuid.uuid4()}
    if "patient_id" in values:
        values["patient_id"] = _find_patient(cursor, values["patient_id"])
    for column, (looked_up, name) in LOOKED_UP.items():
        if values.get(column) is not None:
            statement = sql.SQL("SELECT * FROM {} WHERE {} = %s LIMIT 21").format(
                sql.Identifier(looked_up), sql.Identifier(name)
            )
            cursor.execute(statement, (values[column],))
            (found,) = cursor.fetchall()
            values[column] = found[0]
    cursor.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join([sql.Placeholder()] * len(values)),
        ),
        [Json(value) if isinstance(value, dict | list) else value for value in values.values()],
    )


def _relink(cursor: Cursor, table: str, row_id: object, patient_key: str) -> None:
    """`document.patient = patient; document.save(update_fields=["patient"])`."""
    patient_id = _find_patient(cursor, patient_key)
    statement = sql.SQL("UPDATE {} SET object_id = %s WHERE id = %s").format(sql.Identifier(table))
    cursor.execute(statement, (patient_id, row_id))


def _find_patient(cursor: Cursor, key: str) -> object:
    """`Patient.objects.filter(filemaker_metadata__filemaker_id=key).first()`."""
    cursor.execute(
        "SELECT * FROM patients WHERE (filemaker_metadata -> 'filemaker_id') = %s ORDER BY id LIMIT 1", (Json(key),)
    )
    row = cursor.fetchone()
    if row is None:
        raise LookupError("The oracle foretells a row of a patient that is not there.")
    return row[0]


def _rows(state: State, table: str) -> Iterator[Values]:
    columns = state[table].columns
    return (dict(zip(columns, row, strict=True)) for row in state[table].rows.values())


def _settled(value: Any) -> Any:
    """A value that is not expected is the time of the run."""
    if value is ANY:
        return NOW
    if isinstance(value, Mapping):
        return {key: NOW.isoformat() if each is ANY else each for key, each in value.items()}
    return value
