"""The example of docs/mapping.md, "Add a table": its tables in both systems, and its profile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition
from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench, small_clinic

PAGE = Path(__file__).parents[2] / "docs" / "mapping.md"
PRACTICES = ["11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"]
DOCTORS = [f"22222222-0000-4000-8000-00000000000{n}" for n in range(1, 4)]
TABLES = """
CREATE TABLE regions (id uuid PRIMARY KEY, name varchar(20));
INSERT INTO regions VALUES (gen_random_uuid(), 'North'), (gen_random_uuid(), 'South'), (gen_random_uuid(), NULL);
CREATE TABLE referral_practices (
    id uuid PRIMARY KEY, filemaker_id uuid UNIQUE, name varchar(60) NOT NULL, suburb text, is_active boolean NOT NULL,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, region_id uuid REFERENCES regions (id)
    DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE referral_doctors (
    id uuid PRIMARY KEY, filemaker_id varchar(50), practice_id uuid NOT NULL REFERENCES referral_practices (id)
    DEFERRABLE INITIALLY DEFERRED, full_name varchar(60) NOT NULL, fee numeric(6,2), joined_on date
);
CREATE TABLE referrals (
    id uuid PRIMARY KEY, patient_id uuid NOT NULL REFERENCES patients (id) DEFERRABLE INITIALLY DEFERRED,
    doctor_id uuid NOT NULL REFERENCES referral_doctors (id) DEFERRABLE INITIALLY DEFERRED,
    clinic_id uuid REFERENCES clinics (id) DEFERRABLE INITIALLY DEFERRED, reason text NOT NULL,
    is_urgent boolean NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
CREATE TABLE practice_visits (
    id uuid PRIMARY KEY, practice_id uuid REFERENCES referral_practices (id) DEFERRABLE INITIALLY DEFERRED
);
ALTER TABLE patients ADD COLUMN usual_doctor_id uuid REFERENCES referral_doctors (id) DEFERRABLE INITIALLY DEFERRED;
"""
# A practice that Nexus has by its FileMaker id, and one that only Nexus has.
ROWS = """
INSERT INTO referral_practices VALUES
 ('aaaaaaaa-0000-4000-8000-000000000001', '11111111-0000-4000-8000-000000000001', 'Old name', NULL, false,
  now(), now()),
 ('aaaaaaaa-0000-4000-8000-000000000002', NULL, 'Of Nexus alone', NULL, true, now(), now());
INSERT INTO practice_visits VALUES (gen_random_uuid(), 'aaaaaaaa-0000-4000-8000-000000000002');
"""


def example() -> dict[str, Any]:
    """The example of the page."""
    section = PAGE.read_text("utf-8").split("## Add a table\n")[1]
    content: dict[str, Any] = yaml.safe_load(section.split("```yaml\n")[1].split("```")[0])
    return content


def with_example(**changes: Mapping[str, Any]) -> dict[str, Any]:
    """Profile `nexus` with the example.

    Args:
        changes: put over it, mapping into mapping.
    """
    shipped = yaml.safe_load(resources.files("fm_pipeline.entities").joinpath("nexus.yaml").read_text("utf-8"))
    content: dict[str, Any] = _merged(_merged(shipped, example()), changes)
    return content


def _merged(base: Any, over: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(over, Mapping)):
        return over
    return base | {key: _merged(base.get(key), value) for key, value in over.items()}


def write_profile(folder: Path, content: Mapping[str, Any]) -> Path:
    """A profile file."""
    path = folder / "clinic.yaml"
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False), "utf-8")
    return path


def add_to_nexus(bench: MigrationBench) -> None:
    """The tables of the example, and rows."""
    bench.execute(TABLES)
    bench.execute(ROWS)


def add_to_filemaker(bench: MigrationBench) -> None:
    """The layouts of the example. Every third patient names a doctor; the first two of them have referrals."""
    patients = next(t for t in small_clinic().filemaker_tables() if t.layout == "API_Patients")
    records = [
        {**record, "id_Doctor": DOCTORS[n % 2].upper() if n % 3 == 0 else ""}
        for n, record in enumerate(patients.records())
    ]
    fields = [FieldDefinition(name, kind) for name, kind in patients.fields] + [FieldDefinition("id_Doctor")]
    _fill(bench, "Patients_And_Doctors", fields, records)
    _fill(
        bench,
        "Practices",
        _texts("id Name Suburb Region"),
        [
            {"id": PRACTICES[0], "Name": " High Street Practice ", "Suburb": "Newcastle", "Region": " north "},
            {"id": PRACTICES[1].upper(), "Name": "Station Practice", "Suburb": "", "Region": ""},
        ],
    )
    _fill(
        bench,
        "Doctors",
        [*_texts("id id_Practice Name Fee"), FieldDefinition("Since", "date")],
        [
            {
                "id": DOCTORS[0],
                "id_Practice": PRACTICES[0],
                "Name": "A",
                "Fee": "1,250.5",
                "Since": "02/01/2020",
            },
            {"id": DOCTORS[1], "id_Practice": f" {PRACTICES[1]} ", "Name": "B", "Fee": "", "Since": ""},
            {"id": DOCTORS[2], "id_Practice": "unheard of", "Name": "C", "Fee": "1", "Since": ""},
        ],
    )
    ids = [str(record["id"]) for record in records[:3]]
    referrals = [
        {"id": "r1", "id_Contact": ids[0], "id_Doctor": DOCTORS[0], "Reason": "one\vtwo", "Urgent": "Yes"},
        {"id": "r2", "id_Contact": ids[1], "id_Doctor": DOCTORS[1], "Reason": "", "Urgent": ""},
        {"id": "r3", "id_Contact": ids[2], "id_Doctor": DOCTORS[2], "Reason": "of C", "Urgent": ""},
        {"id": "r4", "id_Contact": "", "id_Doctor": DOCTORS[0], "Reason": "of nobody", "Urgent": ""},
        {"id": "r5", "id_Contact": ids[0], "id_Doctor": "", "Reason": "to nobody", "Urgent": ""},
    ]
    created = {"clinic_name": records[0]["clinic_name"], "creationTimestamp": "07/15/2025 09:00:00"}
    fields = [
        *_texts("id id_Contact id_Doctor clinic_name Reason Urgent"),
        FieldDefinition("creationTimestamp", "timestamp"),
    ]
    _fill(bench, "Referrals", fields, [row | created for row in referrals])


def _texts(names: str) -> list[FieldDefinition]:
    return [FieldDefinition(name) for name in names.split()]


def _fill(bench: MigrationBench, table: str, fields: list[FieldDefinition], records: list[dict[str, Any]]) -> None:
    bench.store.create_table(DATABASE, table, fields)
    bench.store.create_layout(DATABASE, f"API_{table}", table, [field.name for field in fields])
    bench.store.insert(DATABASE, table, records)


def columns_of_page(section: str) -> list[list[str]]:
    """The rows of the first table below a heading of the page, cell by cell."""
    text = PAGE.read_text("utf-8").split(f"## {section}\n")[1]
    rows = re.findall(r"^\|(.+)\|$", text.split("\n## ")[0], re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows[2:]]
