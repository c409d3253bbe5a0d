"""Ids of patients in columns that no foreign key guards: found by content, and led to the patient's present row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from fm_pipeline.db.digest import Digest
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.reimport.report import ReimportReport
from fm_pipeline.preflight.preflight import preflight
from fm_pipeline_tests.nexus.backup.restoring import give_back
from fm_pipeline_tests.support.clinics import MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database

# Every spelling of an id that an application may keep, and values that are no id of a patient.
COLUMNS = {
    "related_patient_id": ("varchar(64)", "{id}::text"),
    "about": ("text", "upper({id}::text)"),
    "subject_ref": ("varchar(32) NOT NULL", "replace({id}::text, '-', '')"),
    "hex": ("text", "upper(replace({id}::text, '-', ''))"),
    "padded": ("character(40)", "{id}::text"),
    "loose": ("uuid NOT NULL", "{id}"),
}
OTHERS = "old_id integer DEFAULT 7, legacy_patient_id varchar(20) DEFAULT '1234', body text DEFAULT repeat('x', 36)"

Rows = list[tuple[Any, ...]]


def _mails(bench: MigrationBench, *ids: str, table: str = "sent_emails") -> None:
    """A table with a row for each id, in every spelling."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    bench.execute(f"CREATE TABLE {table} (id serial PRIMARY KEY, {columns}, {OTHERS})")
    for nexus_id in ids:
        values = ", ".join(value.format(id=f"'{nexus_id}'::uuid") for _, value in COLUMNS.values())
        bench.execute(f"INSERT INTO {table} ({', '.join(COLUMNS)}) VALUES ({values})")  # noqa: S608


def _rows(bench: MigrationBench, table: str = "sent_emails") -> Rows:
    return bench.execute(f"SELECT {', '.join(COLUMNS)} FROM {table} ORDER BY id")  # noqa: S608


def _references(report: ReimportReport, table: str) -> dict[str, dict[str, Any]]:
    return {reference["column"]: reference for reference in report.references if reference["table"] == table}


@dataclass
class Merged:
    """A reimport that has merged the two rows of one patient, and its restore."""

    report: ReimportReport
    target: list[str]  # the tables that were locked and backed up
    before: dict[str, Rows]
    after: dict[str, Rows]
    digests: tuple[dict[str, Digest], dict[str, Digest]]  # before, and after the restore


@pytest.fixture(scope="module")
def merged(postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Merged]:
    """Tables that hold the ids of both rows, the one that stays first."""
    folder = tmp_path_factory.mktemp("merged")
    with empty_database(postgresql) as url, migration_bench(url, folder, small_clinic()) as found:
        bench = found.with_settings(nexus_trigger_tables="recorded_mails")
        ((kept,),) = bench.execute(
            "SELECT id FROM patients WHERE filemaker_metadata ->> 'filemaker_id' <> '' ORDER BY id LIMIT 1"
        )
        ((other,),) = bench.execute(
            "INSERT INTO patients SELECT (jsonb_populate_record(p, jsonb_build_object('id', gen_random_uuid(),"
            " 'created_at', p.created_at + interval '1 day', 'mrn', NULL))).* FROM patients p WHERE id = %s"
            " RETURNING id",
            kept,
        )
        tables = ("sent_emails", "mails_once", "recorded_mails", "historicalpatient")
        for table in tables:
            _mails(bench, kept, other, table=table)
        _mails(bench, kept, table="mails_of_others")
        bench.execute(
            "ALTER TABLE mails_once ADD CONSTRAINT one_each UNIQUE (about);"
            "ALTER TABLE historicalpatient ADD history_id integer, ADD history_date date, ADD history_type text"
        )
        before, digests = {table: _rows(bench, table) for table in tables}, bench.digests()
        report = bench.extract_and_stage().reimport()
        after = {table: _rows(bench, table) for table in tables}
        ((target,),) = bench.execute("SELECT inputs -> 'target' FROM fm_pipeline.plans")
        give_back(bench, list_backups(bench.settings)[0].folder)
        yield Merged(report, list(target), before, after, (digests, bench.digests()))


def test_an_id_of_a_merged_row_becomes_that_of_the_remaining_row_in_the_same_spelling(merged: Merged) -> None:
    as_before, led = merged.after["sent_emails"]
    assert as_before == merged.before["sent_emails"][0]
    assert led == as_before, "in each spelling the id of the row that stays"
    repointed = _references(merged.report, "sent_emails")
    assert repointed.keys() == COLUMNS.keys()
    assert all(reference["repointed"] == 1 for reference in repointed.values())


def test_a_restore_brings_the_earlier_id_back(merged: Merged) -> None:
    before, after = merged.digests
    assert after == before


def test_a_value_that_a_constraint_protects_is_kept_and_stops_nothing(merged: Merged) -> None:
    about = list(COLUMNS).index("about")
    assert [row[about] for row in merged.after["mails_once"]] == [row[about] for row in merged.before["mails_once"]]
    assert _references(merged.report, "mails_once")["about"]["kept"] == 1
    assert _references(merged.report, "mails_once")["hex"]["repointed"] == 1


@pytest.mark.parametrize("table", ["recorded_mails", "historicalpatient"])
def test_histories_and_tables_of_triggers_keep_the_ids_that_they_have(merged: Merged, table: str) -> None:
    assert merged.after[table] == merged.before[table]


def test_a_table_whose_values_stay_right_is_neither_locked_nor_backed_up(merged: Merged) -> None:
    assert "sent_emails" in merged.target
    assert "mails_of_others" not in merged.target


def test_an_id_of_a_deleted_row_is_kept_or_set_to_null_or_refused_by_the_setting(
    bench: MigrationBench, gone: str, caplog: pytest.LogCaptureFixture
) -> None:
    _mails(bench, gone)
    before = _rows(bench)
    with pytest.raises(CatalogueStop, match=r"1 row of sent_emails.about holds the id of rows of patients"):
        bench.with_settings(nexus_soft_references="stop").plan()
    report = bench.plan().report
    told = "1 row of sent_emails would keep in related_patient_id the id of a patient that would be deleted"
    assert any(told in sentence for sentence in report.losses)
    kept = {column: reference["kept"] for column, reference in _references(report, "sent_emails").items()}
    assert kept == dict.fromkeys(COLUMNS, 1)
    with bench.connection() as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE sent_emails")
        assert not _references(bench.plan().report, "sent_emails"), "what somebody holds is left out"
    assert "sent_emails was locked by somebody else" in caplog.text
    bench.with_settings(nexus_soft_references="empty").reimport()
    ((*emptied, loose),) = _rows(bench)
    assert emptied == [None, None, "", None, None]
    assert loose == before[0][-1], "a uuid that may not be NULL stays"


@pytest.mark.usefixtures("staged_once")
def test_a_second_reimport_changes_nothing(bench: MigrationBench) -> None:
    """Ids of earlier reimports are learnt from files within a reimport. The next one must not use them first."""
    bench.execute(
        "CREATE TABLE sent_emails AS SELECT DISTINCT object_id AS id, object_id::text AS about FROM documents_document"
        " WHERE object_id NOT IN (SELECT id FROM patients); ALTER TABLE sent_emails ADD PRIMARY KEY (id)"
    )
    before = bench.execute("SELECT * FROM sent_emails ORDER BY id")
    assert before
    bench.reimport()
    assert bench.execute("SELECT count(*) FROM fm_pipeline.retired_patient_ids WHERE origin = 'document'") != [(0,)]
    assert bench.reimport().changed_rows == 0
    assert bench.execute("SELECT * FROM sent_emails ORDER BY id") == before


def test_the_check_names_the_columns_and_what_is_inside_json(bench: MigrationBench) -> None:
    ((kept,),) = bench.execute("SELECT id FROM patients ORDER BY id LIMIT 1")
    _mails(bench, kept)
    bench.execute(
        "ALTER TABLE sent_emails ADD context jsonb, ADD people uuid[];"
        "UPDATE sent_emails SET context = jsonb_build_object('x', about), people = ARRAY[loose]"
    )
    findings = [finding for finding in preflight(bench.settings) if finding.area == "Nexus"]
    assert {f.subject for f in findings if f.rule == "nexus_soft_reference"} == {
        f"sent_emails.{column}" for column in (*COLUMNS, "legacy_patient_id")
    }
    (json,) = [f for f in findings if f.subject == "ids inside JSON and arrays"]
    assert "sent_emails.context, sent_emails.people" in json.found
