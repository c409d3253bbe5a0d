"""`fm-pipeline backup` and `fm-pipeline restore`, and the asset and the job that do the same."""

from __future__ import annotations

import json
import shlex
import uuid
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import dagster as dg
import pyrage
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from fm_pipeline.cli.main import main
from fm_pipeline.cli.restore import show
from fm_pipeline.db.migrate import migrate
from fm_pipeline.defs.assets.backup import nexus_backup
from fm_pipeline.defs.assets.restore import restore_backup
from fm_pipeline.defs.resources import pipeline_resources
from fm_pipeline.nexus.backup.backup import backup_folder, list_backups, make_backup
from fm_pipeline.nexus.backup.files import new_key
from fm_pipeline.nexus.backup.restore import RestoreReport
from fm_pipeline.nexus.backup.restore_tables import RestoredTable
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench


@pytest.fixture
def nexus(bench: MigrationBench, monkeypatch: pytest.MonkeyPatch) -> MigrationBench:
    """The clinic's Nexus, which the settings of this process point at; our schema is not made yet."""
    monkeypatch.setenv("NEXUS_DATABASE_URL", bench.database_url)
    monkeypatch.setenv("STATE_DIR", str(bench.settings.state_dir))
    monkeypatch.setenv("COLUMNS", "200")
    return bench


def fm_pipeline(*arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == exit_code, result.output
    return result


def test_a_backup_is_made_listed_restored_and_removed(nexus: MigrationBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_DIR", str(nexus.settings.state_dir / "Backup disk"))
    before = nexus.digests()
    folder = fm_pipeline("backup").stdout.splitlines()[-1]
    assert folder == str(list_backups(nexus.settings)[0].folder)
    fm_pipeline("backup")
    assert fm_pipeline("backup", "--list").stdout.count(str(nexus.settings.state_dir)) == 2
    nexus.execute("DELETE FROM notes")
    changed = nexus.digests()
    *_, command = fm_pipeline("restore", folder, "--dry-run").stdout.splitlines()
    assert nexus.digests() == changed
    refused = fm_pipeline("restore", folder, "--confirm", "nexus 1", exit_code=1)
    assert "The confirmation does not name this database" in refused.stderr
    assert "Committed. 209 rows of Nexus changed" in fm_pipeline(*shlex.split(command)[1:]).stdout
    assert nexus.digests() == before
    stored = "SELECT dry_run, subject IS NOT NULL FROM fm_pipeline.run_reports WHERE action = 'restore' ORDER BY id"
    assert nexus.execute(stored) == [(True, True), (False, True)]
    assert "Removed 1 backup; 1 kept." in fm_pipeline("backup", "--prune", "--keep", "1").stdout

    moved = nexus.settings.state_dir / "Other disk"
    Path(folder).parent.rename(moved)
    monkeypatch.setenv("BACKUP_DIR", str(moved))
    ((newest, *_),) = [fm_pipeline("backup", "--list").stdout.splitlines()]
    assert Path(newest).parent == moved
    assert [row["folder"] for row in json.loads(fm_pipeline("status", "--json").stdout)["backups"]] == [newest]
    pruned = fm_pipeline("backup", "--prune", "--keep", "1").stdout
    assert "Removed 0 backups; 1 kept.\n1 backup in BACKUP_DIR came from another folder." in pruned


def test_tables_and_folders_are_shown_whole_on_a_narrow_terminal(
    nexus: MigrationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fm_pipeline("backup").stdout.splitlines()[-1]
    fm_pipeline("backup")
    nexus.execute("DELETE FROM notes")
    monkeypatch.setenv("COLUMNS", "80")
    listed, overview, restored = (
        fm_pipeline(*words).stdout for words in (("backup", "--list"), ("status",), ("restore", folder, "--dry-run"))
    )
    assert folder in listed.splitlines()
    for shown in (overview, restored.partition("Nexus is unchanged")[0]):
        assert "…" not in shown
        assert max(map(len, shown.splitlines())) <= 80
    assert any(line.startswith("notes ") for line in restored.splitlines())


def test_what_was_restored_fits_a_narrow_terminal() -> None:
    console = Console(width=80, record=True, file=StringIO())
    counts = {"deleted": 52_495, "updated": 12_345, "inserted": 123, "newer": 12_345, "emptied": 123}
    longest = "fm_pipeline.retired_patient_ids"
    show(console, RestoreReport("id", "nexus 1", tables=[RestoredTable(longest, 52_495, **counts)]))
    shown = console.export_text()
    assert "…" not in shown
    assert "Rows that a restore would delete, change or bring back:" in shown, "it was not committed"
    assert f"{longest} " in shown
    for head in ("deleted", "changed", "back", "newer", "emptied"):
        assert head in shown


def test_wrong_usage_is_told(nexus: MigrationBench) -> None:
    for arguments in (
        ("backup", "--list", "--new-key"),
        ("backup", "--prune"),
        ("backup", "--keep", "3"),
        ("backup", "--prune", "--keep", "0"),
        ("restore", "somewhere"),
        ("restore", "somewhere", "--dry-run", "--confirm", "x 1"),
    ):
        fm_pipeline(*arguments, exit_code=2)
    assert fm_pipeline("backup", "--new-key").stdout.startswith("AGE-SECRET-KEY-1")


def test_the_asset_makes_a_backup_and_the_job_brings_it_back(nexus: MigrationBench) -> None:
    resources = pipeline_resources(lambda: nexus.settings)
    before = nexus.digests()
    made = dg.materialize([nexus_backup], resources=resources)
    (materialization,) = made.asset_materializations_for_node("nexus_backup")
    metadata: dict[str, Any] = {key: value.value for key, value in materialization.metadata.items()}
    ((patients,),) = nexus.execute("SELECT count(*) FROM patients")
    assert metadata["rows"]["patients"] == patients
    assert metadata["dagster/row_count"] == sum(metadata["rows"].values())
    nexus.execute("DELETE FROM notes")
    for confirm in ("", f"{nexus.database_url.rpartition('/')[2]} {patients}"):
        config = {"ops": {"restore_rows": {"config": {"folder": metadata["folder"], "confirm": confirm}}}}
        assert restore_backup.execute_in_process(run_config=config, resources=resources).success
        assert (nexus.digests() == before) is bool(confirm)
    outcomes = nexus.execute("SELECT action, outcome FROM fm_pipeline.audit WHERE run_id IS NOT NULL ORDER BY id")
    assert outcomes == [("backup", "started"), ("backup", "done")] + [("restore", "started"), ("restore", "done")] * 2
    config["ops"]["restore_rows"]["config"]["confirm"] = "another 1"
    failed = restore_backup.execute_in_process(run_config=config, resources=resources, raise_on_error=False)
    assert not failed.success


def test_a_restore_that_is_executed_again_from_the_ui_does_not_reuse_the_words_of_the_first(
    nexus: MigrationBench,
) -> None:
    resources = pipeline_resources(lambda: nexus.settings)
    migrate(nexus.database_url)
    folder = make_backup(nexus.settings, now=RUN_TIME).folder
    ((patients,),) = nexus.execute("SELECT count(*) FROM patients")
    nexus.execute("DELETE FROM notes")
    before = nexus.digests()
    tags = {"dagster/parent_run_id": str(uuid.uuid4()), "dagster/root_run_id": str(uuid.uuid4())}
    config = {"folder": str(folder), "confirm": f"{nexus.database_url.rpartition('/')[2]} {patients}"}
    run_config = {"ops": {"restore_rows": {"config": config}}}
    again = restore_backup.execute_in_process(
        run_config=run_config, resources=resources, tags=tags, raise_on_error=False
    )
    assert "with the words that were typed for that one" in str(again.failure_data_for_node("restore_rows"))
    assert nexus.digests() == before
    outcomes = nexus.execute("SELECT outcome FROM fm_pipeline.audit WHERE action = 'restore' ORDER BY id")
    assert outcomes == [("started",), ("refused",)]
    config["confirm"] = ""
    assert restore_backup.execute_in_process(run_config=run_config, resources=resources, tags=tags).success


@pytest.mark.parametrize("key", ["", new_key()], ids=["plain", "encrypted"])
def test_the_tables_that_a_reimport_replaces_are_exported_as_csv(
    nexus: MigrationBench, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Every value is what it was: nothing is no empty text, and quotes, commas and line breaks are no columns.

    A table needs no primary key.
    """
    monkeypatch.setenv("BACKUP_KEY", key)
    odd = 'a "quoted", text\nof two lines; =1+1'
    nexus.execute(
        "UPDATE letters_patientletter SET subject = ''; UPDATE notes SET content = %s, created_by = NULL", odd
    )
    nexus.execute("ALTER TABLE reminders DROP CONSTRAINT reminders_pkey")
    killed = backup_folder(nexus.settings) / "csv" / "20250101T000000.partial"
    killed.mkdir(parents=True)
    (killed / "patients.csv").write_text("rows of an export that was killed")
    folder = Path(fm_pipeline("backup", "--export-csv").stdout.splitlines()[-1])
    assert [each.name for each in folder.parent.iterdir()] == [folder.name]
    assert folder.parent.parent == backup_folder(nexus.settings)
    assert folder.stat().st_mode & 0o777 == 0o700
    tables = ["appointments", "letters_patientletter", "notes", "patients", "reminders", "sms_messages"]
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.csv{'.age' if key else ''}" for name in tables]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    for path in folder.iterdir():
        content = path.read_bytes()
        if key:
            content = pyrage.decrypt(content, [pyrage.x25519.Identity.from_str(key)])
        table = path.name.partition(".")[0]
        nexus.execute(f"CREATE TABLE again_{table} (LIKE {table})")
        with nexus.connection() as connection, connection.cursor() as cursor:
            cursor.copy_expert(f"COPY again_{table} FROM STDIN WITH (FORMAT csv, HEADER true)", BytesIO(content))
            connection.commit()
        digests = nexus.digests()
        assert digests[f"again_{table}"] == digests[table]
    assert "not known to this database" not in fm_pipeline("backup", "--list").stdout
    assert nexus.execute("SELECT outcome FROM fm_pipeline.audit WHERE action = 'export' ORDER BY id") == [
        ("started",),
        ("done",),
    ]
