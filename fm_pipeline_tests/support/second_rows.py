"""A patient who has two rows in Nexus."""

from __future__ import annotations

from fm_pipeline_tests.support.clinics import MigrationBench

_ADD = """
INSERT INTO patients SELECT (jsonb_populate_record(p, jsonb_build_object(
    'id', gen_random_uuid(), 'mrn', 'D' || p.mrn, 'created_at', p.created_at + interval '1 day'))).*
FROM patients p WHERE id::text = %s RETURNING id::text
"""


def add_second_row(bench: MigrationBench, patient: str) -> str:
    """Give Nexus a second, younger row with the same FileMaker id; return its id."""
    ((nexus_id,),) = bench.execute(_ADD, patient)
    return str(nexus_id)
