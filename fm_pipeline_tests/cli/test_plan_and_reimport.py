"""`fm-pipeline plan` and `fm-pipeline reimport`, as somebody at a terminal of 80 columns sees them."""

from __future__ import annotations

import re
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from fm_pipeline.cli.main import main
from fm_pipeline.db.connection import connect
from fm_pipeline.db.locks import acquire_reimport_lock
from fm_pipeline.entities.registry import Phase
from fm_pipeline_tests.support.clinics import MigrationBench


def run(bench: MigrationBench, *words: str) -> Result:
    """A command with the bench's settings."""
    return CliRunner().invoke(main, words, env=bench.environment() | {"COLUMNS": "80"})


def test_the_plan_and_the_reimport_fit_80_columns_and_no_number_is_cut(bench: MigrationBench) -> None:
    planned = run(bench, "plan")
    assert planned.exit_code == 0, planned.output
    ((patients,),) = bench.execute("SELECT count(*) FROM patients")
    done = run(bench, *shlex.split(planned.output.splitlines()[-1])[1:])
    assert done.exit_code == 0, done.output
    for output in (planned.output, done.output):
        table = [line for line in output.splitlines() if re.match(r"(patients|appointments|notes) ", line)]
        assert any(line.startswith("patients ") and f" {patients} " in line for line in table)
        assert all(len(line) <= 80 and "…" not in line for line in table)
        assert "checks of the result hold" in output
        assert "|" not in "".join(table)


@pytest.mark.usefixtures("staged_once")
def test_a_reimport_has_the_time_of_its_transaction_and_not_of_the_command(bench: MigrationBench) -> None:
    planned = run(bench, "plan")
    done = run(bench, *shlex.split(planned.output.splitlines()[-1])[1:])
    assert done.exit_code == 0, done.output
    ((read_at, backup_at, started_at),) = bench.execute(
        "SELECT (SELECT max(finished_at) FROM fm_pipeline.source_extractions), b.created_at, r.started_at"
        " FROM fm_pipeline.reimports r JOIN fm_pipeline.backups b ON b.id = r.backup_id"
    )
    assert read_at <= backup_at < started_at


@pytest.mark.usefixtures("staged_once")
def test_a_shell_reads_the_command_that_a_plan_prints_as_it_is_meant(bench: MigrationBench) -> None:
    """Also with a database whose name has characters that shells and terminals treat specially."""
    name = """o'ne "two" $HOME `id` [red]"""
    with renamed(bench, name) as odd:
        planned = run(odd, "plan")
        assert planned.exit_code == 0, planned.output
        typed = planned.output.splitlines()[-1].replace("fm-pipeline", "printf '%s\\n'", 1)
        read = subprocess.run(["sh", "-c", typed], capture_output=True, text=True, check=True)  # noqa: S603, S607
    ((plan_id,),) = bench.execute("SELECT id::text FROM fm_pipeline.plans")
    ((patients,),) = bench.execute("SELECT count(*) FROM patients")
    assert read.stdout.splitlines() == ["reimport", "--plan", plan_id, "--confirm", f"{name} {patients}"]


@contextmanager
def renamed(bench: MigrationBench, name: str) -> Iterator[MigrationBench]:
    """The same bench while its database has another name."""
    server, _, before = bench.database_url.rpartition("/")
    maintenance = bench.with_settings(nexus_database_url=SecretStr(f"{server}/postgres"))
    quoted = '"' + name.replace('"', '""') + '"'
    maintenance.execute(f"ALTER DATABASE {before} RENAME TO {quoted}")
    try:
        yield bench.with_settings(nexus_database_url=SecretStr(f"{server}/{quote(name)}"))
    finally:
        maintenance.execute(f"ALTER DATABASE {quoted} RENAME TO {before}")


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


@pytest.mark.hard_case(17)
@pytest.mark.usefixtures("reimported_once")
def test_a_plan_that_was_carried_out_is_refused_before_anything_is_read(bench: MigrationBench) -> None:
    ((plan_id,),) = bench.execute("SELECT plan_id::text FROM fm_pipeline.reimports")
    read = bench.execute("SELECT entity, extraction_id FROM fm_pipeline.source_extractions ORDER BY entity")
    refused = run(bench, "reimport", "--plan", plan_id, "--confirm", "nexus 1")
    assert refused.exit_code == 1
    assert "The plan has been carried out already." in refused.stderr
    assert bench.execute("SELECT entity, extraction_id FROM fm_pipeline.source_extractions ORDER BY entity") == read
    assert bench.execute("SELECT count(*) FROM fm_pipeline.backups") == [(1,)]


@pytest.mark.hard_case(18)
@pytest.mark.usefixtures("staged_once")
def test_wrong_words_are_refused_before_anything_is_read_and_are_on_record(bench: MigrationBench) -> None:
    plan = bench.plan()
    read = bench.execute("SELECT entity, extraction_id FROM fm_pipeline.source_extractions ORDER BY entity")
    database, patients = plan.confirmation.split()
    for words in ("wrong words", f"{database} {int(patients) + 1}", ""):
        refused = run(bench, "reimport", "--plan", plan.id, "--confirm", words)
        assert refused.exit_code == 1
        assert "The confirmation does not name this database and its number of patients." in refused.stderr
        assert "the plan shows the words to type" in refused.stderr
    assert bench.execute("SELECT entity, extraction_id FROM fm_pipeline.source_extractions ORDER BY entity") == read
    assert bench.execute("SELECT count(*) FROM fm_pipeline.backups") == [(0,)]
    audit = bench.execute("SELECT outcome, plan_id::text FROM fm_pipeline.audit WHERE action = 'reimport' ORDER BY id")
    assert audit == [("started", plan.id), ("refused", plan.id)] * 3


@pytest.mark.usefixtures("staged_once")
def test_a_plan_of_a_release_with_other_settings_is_refused_as_that(bench: MigrationBench) -> None:
    plan = bench.plan()
    bench.execute("UPDATE fm_pipeline.plans SET inputs = inputs #- '{settings,nexus_sync_edits}'")
    refused = run(bench, "reimport", "--plan", plan.id, "--confirm", plan.confirmation)
    assert refused.exit_code == 1
    assert "The plan is stale: the plan was made by another release, which has other settings." in refused.stderr


@pytest.mark.usefixtures("staged_once")
@pytest.mark.parametrize("setting", [{"nexus_letters": "keep"}, {"clinic_time_zone": "Europe/Berlin"}])
@pytest.mark.hard_case(16)
def test_a_plan_made_under_other_settings_is_refused_before_anything_is_read(
    bench: MigrationBench, setting: dict[str, object]
) -> None:
    plan = bench.plan()
    refused = run(bench.with_settings(**setting), "reimport", "--plan", plan.id, "--confirm", plan.confirmation)
    assert refused.exit_code == 1
    assert "The plan is stale: a setting that decides what happens to rows was changed." in refused.stderr
    assert bench.execute("SELECT count(*) FROM fm_pipeline.backups") == [(0,)]


@pytest.mark.hard_case(17)
@pytest.mark.usefixtures("staged_once")
def test_a_plan_from_before_a_patient_was_edited_is_refused_before_anything_is_read(bench: MigrationBench) -> None:
    plan = bench.plan()
    bench.execute("UPDATE patients SET mrn = 'edited' WHERE id = (SELECT min(id::text)::uuid FROM patients)")
    read = bench.execute("SELECT entity, extraction_id FROM fm_pipeline.source_extractions ORDER BY entity")
    refused = run(bench, "reimport", "--plan", plan.id, "--confirm", plan.confirmation)
    assert refused.exit_code == 1
    assert "The plan is stale: rows of Nexus changed (patients)." in refused.stderr
    assert bench.execute("SELECT entity, extraction_id FROM fm_pipeline.source_extractions ORDER BY entity") == read
    assert bench.execute("SELECT outcome FROM fm_pipeline.audit WHERE action = 'reimport' ORDER BY id") == [
        ("started",),
        ("refused",),
    ]


@pytest.mark.hard_case(17)
@pytest.mark.usefixtures("staged_once")
def test_a_plan_from_before_filemaker_changed_is_refused_before_the_backup(bench: MigrationBench) -> None:
    plan = bench.plan()
    bench.store.edit("clinic", "Notes", 1, {"note": "Somebody has just typed this."})
    refused = run(bench, "reimport", "--plan", plan.id, "--confirm", plan.confirmation)
    assert refused.exit_code == 1
    assert "The plan is stale: FileMaker's data changed (notes)." in refused.stderr
    assert bench.execute("SELECT count(*) FROM fm_pipeline.backups") == [(0,)]


@pytest.mark.usefixtures("staged_once")
def test_a_plan_of_some_phases_only_is_refused_before_anything_is_read(bench: MigrationBench) -> None:
    plan = bench.plan(phases=[Phase.PATIENTS])
    refused = run(bench, "reimport", "--plan", plan.id, "--confirm", plan.confirmation)
    assert refused.exit_code == 1
    assert "The plan is for the phases patients, not for delete, patients" in refused.stderr
    assert bench.execute("SELECT count(*) FROM fm_pipeline.backups") == [(0,)]


def test_the_step_that_failed_is_the_one_that_is_said_to_have_stopped(bench: MigrationBench, tmp_path: Path) -> None:
    def stopped(*words: str, **settings: Any) -> tuple[str, str]:
        """The last step that went well, and the one that did not."""
        result = run(bench.with_settings(**settings), *words)
        assert result.exit_code == 1, result.output
        lines = re.findall(r"^\[[^\]]+\] (.*?): (✅|❌)", result.output, re.MULTILINE)
        assert [mark for _, mark in lines].index("❌") == len(lines) - 1
        return lines[-2][0], lines[-1][0]

    plan = bench.extract_and_stage().plan()
    bench.stand_in.faults(missing_layouts=["API_Contact_Details"])
    assert stopped("plan") == ("Read patient", "Read contact_detail")
    bench.stand_in.faults()
    with bench.connection() as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE fm_pipeline.crosswalk")
        assert stopped("plan", nexus_lock_timeout_seconds=0.1) == ("Read image", "Stage patients")
    no_folder = tmp_path / "a file"
    no_folder.touch()
    carry_out = ("reimport", "--plan", plan.id, "--confirm", plan.confirmation)
    assert stopped(*carry_out, backup_dir=no_folder) == ("Stage what patients have", "Backup, write")


@pytest.mark.hard_case(13)
@pytest.mark.usefixtures("staged_once")
def test_a_reimport_beside_another_is_refused_before_anything_is_read(bench: MigrationBench) -> None:
    plan = bench.plan()
    read = bench.execute("SELECT entity, extraction_id FROM fm_pipeline.source_extractions ORDER BY entity")
    with connect(bench.database_url) as gate:
        acquire_reimport_lock(gate)
        refused = run(bench, "reimport", "--plan", plan.id, "--confirm", plan.confirmation)
    assert refused.exit_code == 1
    assert "wrote to this database for more than 3 seconds." in refused.stderr
    assert bench.execute("SELECT entity, extraction_id FROM fm_pipeline.source_extractions ORDER BY entity") == read
    assert bench.execute("SELECT count(*) FROM fm_pipeline.backups") == [(0,)]
    audit = bench.execute("SELECT outcome FROM fm_pipeline.audit WHERE action = 'reimport' ORDER BY id")
    assert audit == [("started",), ("refused",)]
