"""The synthetic clinic: its oracle, which was written from the mapping page alone, says how every record ends."""

from __future__ import annotations

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.entities.registry import ENTITIES, staged
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.crosswalk import fill_crosswalk
from fm_pipeline.sandbox.clinic.fill import fill_nexus
from fm_pipeline.sandbox.clinic.generate import Clinic, generate_clinic
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline.staging.check import check_staging
from fm_pipeline.staging.summary import summary
from fm_pipeline_tests.staging.bench import Staging


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return generate_clinic(scale=0.05)


def extract(staging: Staging, clinic: Clinic) -> None:
    """Put every record into the staging schema, by the fields of profile `nexus`."""
    tables = {table.layout: table for table in clinic.filemaker_tables()}
    for entity, mapping in load_profile("nexus").entities.items():
        records = tables[mapping.layout[0]].records()
        rows = [{name: record[fields[0]] for name, fields in mapping.fields.items()} for record in records]
        staging.extract(entity, rows, fed=mapping.fields)


def test_every_record_ends_as_the_oracle_says_and_every_flag_is_counted(database_url: str, clinic: Clinic) -> None:
    migrate(database_url)
    with connect(database_url) as connection:
        create_nexus(connection)
        fill_nexus(connection, clinic)
        staging = Staging(connection)
        extract(staging, clinic)
        with connection.cursor() as cursor:
            fill_crosswalk(connection, read_catalogue(cursor, "public"))
        for entity in (each.name for each in staged(ENTITIES) if not each.made):
            staging.build(entity)
        check_staging(connection)
        summaries = {s.entity: s for s in summary(connection)}
        kept = staging.execute(
            "SELECT (SELECT count(*) FROM fm_pipeline.staged_patients JOIN patients ON id = nexus_id),"
            " (SELECT count(*) FROM fm_pipeline.staged_appointments JOIN appointments ON id = nexus_id)"
        )
    expected = clinic.expected()
    assert {
        (s.entity, s.source_rows, s.ready, s.quarantined, *sorted(s.by_rule.items())) for s in summaries.values()
    } == {
        (entity, c.rows, c.loaded, c.quarantined, *sorted(c.by_rule.items())) for entity, c in expected.sources.items()
    }
    flags = {(s.entity, rule): rows for s in summaries.values() for rule, rows in s.flagged.items()}
    assert flags == expected.flags
    changes = expected.changes
    assert kept == [tuple(changes[t].after - changes[t].inserted for t in ("patients", "appointments"))]
