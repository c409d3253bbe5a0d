"""The clinic read from a folder of export files: the same staged rows as through the Data API."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from fm_pipeline.preflight.preflight import preflight
from fm_pipeline.sandbox.clinic.generate import generate_clinic
from fm_pipeline.sandbox.clinic.nexus.values import Profile
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.filemaker.data.values import Locale
from fm_pipeline.sandbox.filemaker.exporting import Exporter
from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline_tests.staging.changing import rename_file
from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench, migration_bench

UNFIT = "filemaker_layout_unfit"
DAY_FIRST = Locale("%d.%m.%Y")
WAYS: Sequence[tuple[str, dict[str, Any]]] = (
    (".tab", {}),
    (".csv", {"encoding": "utf-16", "locale": DAY_FIRST}),
    (".mer", {"separator": ";", "locale": DAY_FIRST}),
    (".xml", {"locale": DAY_FIRST}),
    (".xlsx", {}),
)


@pytest.mark.parametrize(
    ("profile", "ways"), [("nexus", WAYS), ("wep", ((".tab", {}), (".xml", {"locale": DAY_FIRST})))]
)
def test_every_format_gives_the_staged_rows_of_the_data_api(
    database_url: str, tmp_path: Path, profile: Profile, ways: Sequence[tuple[str, dict[str, Any]]]
) -> None:
    with migration_bench(database_url, tmp_path, generate_clinic(scale=0.01), profile) as bench:
        expected = _staged(bench.extract_and_stage())
        assert sum(len(rows) for rows in expected.values()) > 500
        for suffix, options in ways:
            if suffix == ".xml":  # it cannot hold the control characters that somebody typed
                _remove_group_separators(bench.store)
                expected = _staged(bench.extract_and_stage())
            exporter = Exporter(bench.store, DATABASE, **options)
            _exported(bench, exporter, tmp_path / suffix[1:], suffix, profile).extract_and_stage()
            found = _staged(bench)
            for table, rows in expected.items():
                # FileMaker itself writes a blank for a tab in a field of tab-separated text.
                there = [row.replace("\t", " ") for row in rows] if suffix == ".tab" else rows
                assert set(found[table]) ^ set(there) == set(), f"{suffix}: {table}"


def test_a_sync_reads_the_files_by_what_the_profile_says_of_them(bench: MigrationBench, tmp_path: Path) -> None:
    exporter = Exporter(bench.store, DATABASE, locale=DAY_FIRST)
    exported = _exported(bench, exporter, tmp_path / "exports", ".tab", "nexus")
    expected = _staged(exported.extract_and_stage())
    read_changes_and_stage(exported.settings)
    assert _staged(exported) == expected


def test_a_nul_in_a_text_does_not_stop_the_look_for_the_order_of_the_dates(
    bench: MigrationBench, tmp_path: Path
) -> None:
    bench.store.edit(DATABASE, "Notes", 3, {"note": 'a\0b "creationTimestamp": "\\'})
    expected = _staged(bench.extract_and_stage())
    exporter = Exporter(bench.store, DATABASE, locale=DAY_FIRST)
    exported = _exported(bench, exporter, tmp_path / "exports", ".mer", "nexus").extract_and_stage()
    assert _staged(exported) == expected


def test_a_file_of_another_name_may_be_a_backup_also_if_exports_were_read_in_between(
    bench: MigrationBench, tmp_path: Path
) -> None:
    restored = "SELECT DISTINCT went_back_at IS NOT NULL FROM fm_pipeline.source_readings"
    by_files = _exported(
        bench.extract_and_stage(), Exporter(bench.store, DATABASE), tmp_path / "files", ".tab", "nexus"
    )
    for each in (by_files, bench):
        each.extract_and_stage()
        assert bench.execute(restored) == [(False,)], "it is the same file"
    by_files.extract_and_stage()
    rename_file(bench.store, "clinic of Friday")
    bench.with_settings(filemaker_database="clinic of Friday").extract_and_stage()
    assert bench.execute(restored) == [(True,)]


def test_the_check_reads_every_file_and_says_what_is_wrong_with_one(bench: MigrationBench, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    exported = _exported(bench, Exporter(bench.store, DATABASE), folder, ".tab", "nexus")
    findings = preflight(exported.settings)
    assert [finding for finding in findings if finding.level != "good"] == []
    said = {finding.subject: finding.found for finding in findings if finding.area == "FileMaker"}
    assert said["folder"] == "7 export files can be seen"
    assert re.fullmatch(r"all 6 mapped fields; \d+ records", said["export file Notes"])
    cut = (folder / "Notes.tab").read_bytes()[:-80]
    (folder / "Notes.tab").write_bytes(cut.rsplit(b"\t", 2)[0])
    (folder / "Docs.csv").write_bytes((folder / "Docs.tab").read_bytes())
    broken = {finding.subject: finding for finding in preflight(exported.settings) if finding.rule == UNFIT}
    assert set(broken) == {"note", "document"}
    assert "The last record of Notes.tab" in broken["note"].found
    assert "Docs.csv and Docs.tab are files of the same entity" in broken["document"].found


def test_the_check_and_a_reimport_say_that_files_are_of_different_days(bench: MigrationBench, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    exported = _exported(bench, Exporter(bench.store, DATABASE), folder, ".tab", "nexus")
    for name, hours in (("Notes.tab", 60), ("Docs.tab", 10), ("other.tab", 999)):
        (folder / name).touch()
        newest = (folder / "Contact_Details.tab").stat().st_mtime
        os.utime(folder / name, (newest, newest - hours * 3600))
    for files in (True, False):
        (finding,) = (each for each in preflight(exported.settings, files=files) if each.rule == "exports_of_two_days")
        assert (finding.level, finding.subject) == ("warning", "folder")
        assert re.fullmatch(r"Notes\.tab is 60 hours older than \w+\.tab", finding.found)
    os.utime(folder / "Notes.tab", (newest, newest - 20 * 3600))
    assert all(finding.level == "good" for finding in preflight(exported.settings))


def test_text_that_a_file_does_not_have_is_found_through_the_data_api(bench: MigrationBench, tmp_path: Path) -> None:
    bench.store.edit(DATABASE, "Contact_Details", 2, {"is_default": "yes, 1"})
    for suffix, expected in ((".mer", ["text in a number field, 1 record of API_Contact_Details: 2"]), (".tab", [])):
        exporter = Exporter(bench.store, DATABASE)
        exported = _exported(bench, exporter, tmp_path / suffix[1:], suffix, "nexus")
        findings = preflight(exported.settings, full=True)
        assert [each.found for each in findings if each.rule == "text_lost_by_door"] == expected


def _exported(bench: MigrationBench, exporter: Exporter, folder: Path, suffix: str, profile: Profile) -> MigrationBench:
    """Export every layout, with a profile that names the columns."""
    folder.mkdir()
    content = yaml.safe_load(resources.files("fm_pipeline.entities").joinpath(f"{profile}.yaml").read_text("utf-8"))
    for mapping in content.values():
        (layout,) = mapping["layout"]
        if exporter.store.layout(DATABASE, layout) is None:
            continue
        exporter.export(layout, folder / f"{layout.removeprefix('API_')}{suffix}")
        mapping["file"] = [layout.removeprefix("API_")]
        if suffix in {".tab", ".csv"}:
            mapping["export"] = {"columns": [field.name for field in exporter.fields(layout)]}
    path = folder / "profile.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    given = {"filemaker_door": "exports", "filemaker_exports_folder": folder, "filemaker_profile": str(path)}
    return bench.with_settings(**given)


def _remove_group_separators(store: Store) -> None:
    for layout in store.layouts(DATABASE):
        table = store.table(DATABASE, layout.table)
        with store.transaction() as db:
            for field, n in table.cells():
                name = table.column(field.name, n)
                db.execute(f"UPDATE {table.rows} SET {name} = replace({name}, char(29), '')")  # noqa: S608


def _staged(bench: MigrationBench) -> dict[str, list[str]]:
    """Every row of the staged tables, without the times of the runs and the hashes of what the rows are made from."""
    names = bench.execute(
        "SELECT c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = 'fm_pipeline'::regnamespace AND c.relkind = 'r' AND c.relname LIKE 'staged%%'"
        " AND c.relname <> 'staged_builds' AND a.attname <> 'inputs' GROUP BY c.relname"
    )
    return {
        name: sorted(row for (row,) in bench.execute(f"SELECT ROW({columns})::text FROM fm_pipeline.{name}"))  # noqa: S608
        for name, columns in names
    }
