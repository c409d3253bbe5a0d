"""`fm-pipeline plan` and `fm-pipeline reimport`, as somebody at a terminal of 80 columns sees them."""

from __future__ import annotations

import re
import uuid

from click.testing import CliRunner, Result

from fm_pipeline.cli.main import main
from fm_pipeline_tests.bench.clinics import MigrationBench


def run(bench: MigrationBench, *words: str) -> Result:
    """A command with the bench's settings."""
    return CliRunner().invoke(main, words, env=bench.environment() | {"COLUMNS": "80"})


def test_the_plan_and_the_reimport_fit_80_columns_and_no_number_is_cut(bench: MigrationBench) -> None:
    planned = run(bench, "plan")
    assert planned.exit_code == 0, planned.output
    ((patients,),) = bench.execute("SELECT count(*) FROM patients")
    found = re.search(r'fm-pipeline reimport --plan (\S+) --confirm "([^"]+)"', planned.output)
    assert found
    done = run(bench, "reimport", "--plan", found[1], "--confirm", found[2])
    assert done.exit_code == 0, done.output
    for output in (planned.output, done.output):
        table = [line for line in output.splitlines() if re.match(r"(patients|appointments|notes) ", line)]
        assert any(line.startswith("patients ") and f" {patients} " in line for line in table)
        assert all(len(line) <= 80 and "…" not in line for line in table)
        assert "checks of the result hold" in output
        assert "|" not in "".join(table)


def test_a_plan_that_nobody_made_is_refused_before_anything_is_read(bench: MigrationBench) -> None:
    for plan_id in (str(uuid.uuid4()), "of last week"):
        refused = run(bench, "reimport", "--plan", plan_id, "--confirm", "nexus 1")
        assert refused.exit_code == 1
        assert "There is no plan of that id in this database." in refused.stderr
        assert "fm-pipeline plan" in refused.stderr
    assert bench.execute("SELECT count(*) FROM fm_pipeline.source_extractions") == [(0,)]
    assert bench.execute("SELECT count(*) FROM fm_pipeline.backups") == [(0,)]
    audit = bench.execute("SELECT action, outcome FROM fm_pipeline.audit ORDER BY id")
    assert audit == [("reimport", "started"), ("reimport", "refused")] * 2


def test_17_a_plan_that_was_carried_out_is_refused_before_anything_is_read(bench: MigrationBench) -> None:
    bench.extract_and_stage().reimport()
    ((plan_id,),) = bench.execute("SELECT plan_id::text FROM fm_pipeline.reimports")
    read = bench.execute("SELECT entity, extraction_id FROM fm_pipeline.source_extractions ORDER BY entity")
    refused = run(bench, "reimport", "--plan", plan_id, "--confirm", "nexus 1")
    assert refused.exit_code == 1
    assert "The plan has been carried out already." in refused.stderr
    assert bench.execute("SELECT entity, extraction_id FROM fm_pipeline.source_extractions ORDER BY entity") == read
    assert bench.execute("SELECT count(*) FROM fm_pipeline.backups") == [(1,)]
