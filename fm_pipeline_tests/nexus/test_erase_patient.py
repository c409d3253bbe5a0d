"""The erasure of a patient from the pipeline's own tables."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from fm_pipeline.cli.main import main
from fm_pipeline_tests.support.clinics import MigrationBench, Origin

OTHER = "00000000-0000-4000-8000-000000000000"
# Two rows of the history that belong to the patient, one directly and one by the other; one of somebody else.
HISTORY = """
INSERT INTO fm_pipeline.crosswalk (entity, filemaker_key, nexus_id, origin) VALUES ('patient', %(key)s, %(id)s, 'new');
INSERT INTO fm_pipeline.set_aside_rows (table_schema, table_name, row_key, content) VALUES
    ('public', 'images_batch', '11111111-1111-4111-8111-111111111111', json_build_object('object_id', %(id)s)),
    ('public', 'images_image', '22222222-2222-4222-8222-222222222222',
     '{"batch_id": "11111111-1111-4111-8111-111111111111"}'),
    ('public', 'images_image', '5', json_build_object('batch_id', %(other)s, 'order', 5));
INSERT INTO fm_pipeline.syncs (id, requested_by, created_at, status, inputs, report)
VALUES (%(other)s, 'x', now(), 'committed', '{}', '{}');
INSERT INTO fm_pipeline.sync_changes VALUES (%(other)s, 'public', 'patients', %(id)s, %(row)s, NULL),
    (%(other)s, 'public', 'patients', %(other)s, json_build_object('id', %(other)s), NULL);
INSERT INTO fm_pipeline.synced_rows (entity, nexus_id, filemaker_key, filemaker, nexus, state) VALUES
    ('patient', %(id)s, %(key)s, '{}', '{}', 0), ('patient', %(other)s, 'another', '{}', '{}', 0);
"""


STAGED = """
SELECT s.nexus_id::text, s.filemaker_key, row_to_json(s)::text FROM fm_pipeline.staged_patients s
WHERE EXISTS (SELECT FROM patients p WHERE p.id = s.nexus_id) = %s
  AND EXISTS (SELECT FROM fm_pipeline.staged_appointments a WHERE a.patient_id = s.nexus_id) ORDER BY 1 LIMIT 1
"""


@pytest.fixture
def nexus(staged_once: Origin, bench: MigrationBench, monkeypatch: pytest.MonkeyPatch) -> MigrationBench:
    """A staged clinic that was not reimported yet, so that Nexus lacks some patients."""
    for name, value in bench.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    return bench


def fm_pipeline(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["patient", *arguments])


def holding(bench: MigrationBench, text: str) -> set[str]:
    """Our tables that hold a text in any of their rows."""
    tables = bench.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'fm_pipeline'")
    return {
        table
        for (table,) in tables
        if bench.execute(f"SELECT 1 FROM fm_pipeline.{table} t WHERE t::text ILIKE %s LIMIT 1", f"%{text}%")  # noqa: S608
    }


def test_a_patient_who_is_gone_is_removed_from_every_table_but_those_that_say_what_happened(
    nexus: MigrationBench,
) -> None:
    ((nexus_id, key, row),) = nexus.execute(STAGED, False)
    with nexus.connection() as connection, connection.cursor() as cursor:
        cursor.execute(HISTORY, {"id": nexus_id, "key": key, "row": row, "other": OTHER})
        connection.commit()
    before, digests = holding(nexus, nexus_id) | holding(nexus, key), nexus.digests()
    assert {"source_records", "staged_patients", "staged_appointments", "staged_outcomes", "set_aside_rows"} <= before
    shown = fm_pipeline(key.upper(), "--erase")
    assert shown.exit_code == 0, shown.output
    assert holding(nexus, nexus_id) | holding(nexus, key) == before | {"audit"}, "a dry run removes nothing"
    words = shown.stdout.splitlines()[-1].partition("--confirm ")[2].strip('"')
    assert fm_pipeline(key, "--erase", "--confirm", "another 1").exit_code == 1

    ((rows,),) = nexus.execute("SELECT count(*) FROM fm_pipeline.staged_patients")
    done = fm_pipeline(key, "--erase", "--confirm", words)
    assert done.exit_code == 0, done.output
    assert f"Removed {words.split()[-1]} rows." in done.stdout
    assert holding(nexus, nexus_id) | holding(nexus, key) == {"crosswalk", "audit"}
    assert nexus.execute("SELECT count(*) FROM fm_pipeline.staged_patients") == [(rows - 1,)]
    for table, kept in (("set_aside_rows", 1), ("sync_changes", 1), ("synced_rows", 1)):
        assert nexus.execute(f"SELECT count(*) FROM fm_pipeline.{table}") == [(kept,)], table  # noqa: S608
    assert nexus.digests() == digests
    ends = "SELECT outcome FROM fm_pipeline.audit WHERE action = 'prune' AND position(%s in detail) > 0 ORDER BY id"
    assert [end for (end,) in nexus.execute(ends, key)] == ["started", "done", "started", "refused", "started", "done"]
    assert "hold nothing of this patient" in fm_pipeline(key, "--erase").stdout


def test_a_patient_whom_nexus_has_is_not_removed(nexus: MigrationBench) -> None:
    ((nexus_id, key, _),) = nexus.execute(STAGED, True)
    before = holding(nexus, key)
    for reference in (key, nexus_id):
        refused = fm_pipeline(reference, "--erase", "--confirm", "nexus 1")
        assert refused.exit_code == 1
        assert f"Nexus still has the patient {nexus_id}." in refused.stderr
    assert holding(nexus, key) == before | {"audit"}
    assert fm_pipeline(key, "--confirm", "nexus 1").exit_code == 2
