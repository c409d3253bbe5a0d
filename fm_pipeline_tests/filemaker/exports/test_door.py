"""A folder of export files as a door."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fm_pipeline.errors import SettingsError
from fm_pipeline.filemaker.connect import open_door, require_source
from fm_pipeline.filemaker.door import Door, Reading
from fm_pipeline.filemaker.exports.door import ExportsDoor
from fm_pipeline.filemaker.exports.errors import ExportChanged, ExportStop
from fm_pipeline.filemaker.model import FileMakerRecord
from fm_pipeline.settings import load_settings
from fm_pipeline_tests.filemaker.exports.files import NAMED, written

OPTIONS = replace(NAMED, files=("Notes", "API_Notes"))


def test_every_file_is_a_table_and_is_read_once(tmp_path: Path) -> None:
    written(tmp_path, "1\t\tx\r2\t\ty\r", "notes.TAB")
    written(tmp_path, "", "readme.txt")
    written(tmp_path, "", "~$notes.tab")
    opened: Door = ExportsDoor(tmp_path, [OPTIONS])
    with opened as door:
        assert (door.tables(), door.version(), door.source) == (["notes"], "", f"exports in {tmp_path}")
        fields = door.fields("Notes")
        assert [field.name for field in fields] == ["id", "day", "note"]
        page = door.sample("Notes", fields)
        assert (page.found_count, [record.fields["note"] for record in page.records]) == (2, ["x"])
        seen: list[tuple[int, int]] = []
        reading = Reading("Notes", fields[:1], on_progress=lambda *counts: seen.append(counts))
        assert door.read(reading, lambda records: [record.fields for record in records]) == [{"id": "1"}, {"id": "2"}]
        assert seen[-1] == (2, 2)


def _after_a_removal(path: Path, records: Iterator[FileMakerRecord]) -> Iterator[FileMakerRecord]:
    yield next(records)
    path.unlink()
    yield from records


def test_two_files_of_one_entity_stop_and_the_newer_one_is_not_preferred(tmp_path: Path) -> None:
    for name in ("Notes.tab", "API_Notes.csv"):
        written(tmp_path, "1\t\tx\r", name)
        door = ExportsDoor(tmp_path, [OPTIONS])
        if name == "Notes.tab":
            assert len(door.fields("Notes")) == 3
    with pytest.raises(ExportStop, match=r"API_Notes.csv and Notes.tab are files of the same entity"):
        door.fields("Notes")


@pytest.mark.parametrize(
    "name",
    [
        "Notes 2.tab",
        "Notes (1).csv",
        "notes(2).XLSX",
        "Notes copy.tab",
        "Notes copy 3.mer",
        "Notes (another copy).csv",
        "Notes - Copy.tab",
        "Notes - Copy (2).tab",
        "Copy of Notes.tab",
        "Notes - Kopie.tab",
        "Kopie von Notes.tab",
        "Notes (reception's conflicted copy 2026-01-02).tab",
        "Notes.tab.crdownload",
        "Notes.tab.part",
        "Notes.csv.filepart",
        "Notes.tab.download",
    ],
)
def test_a_copy_or_an_unfinished_download_beside_a_file_stops(tmp_path: Path, name: str) -> None:
    written(tmp_path, "1\t\tx\r")
    written(tmp_path, "1\t\tx\r2\t\ty\r", name)
    with pytest.raises(ExportStop) as stopped, ExportsDoor(tmp_path, [OPTIONS]) as door:
        door.fields("Notes")
    assert "Notes.tab" in stopped.value.what
    assert name in stopped.value.what


def test_files_of_other_entities_and_of_the_system_are_no_copies(tmp_path: Path) -> None:
    written(tmp_path, "1\t\tx\r")
    written(tmp_path, "1\t\ty\r", "Notes 2.tab")
    for name in ("Notes of 2019.tab", "Notes_old.tab", "._Notes 3.tab", "~$Notes copy.tab", ".Notes.tab.part"):
        written(tmp_path, "?", name)
    (tmp_path / "Notes copy.tab").mkdir()
    with ExportsDoor(tmp_path, [OPTIONS, replace(NAMED, files=("Notes 2",))]) as door:
        assert [len(door.fields(name)) for name in ("Notes", "Notes 2")] == [3, 3]


def test_a_file_that_was_replaced_between_two_calls_is_looked_at_again(tmp_path: Path) -> None:
    written(tmp_path, "1\t\tx\r")
    door = ExportsDoor(tmp_path, [replace(NAMED, columns=())])
    with pytest.raises(ExportStop, match="is no header"):
        door.fields("Notes")
    path = written(tmp_path, "id\tnote\r1\tx\r")
    assert [field.name for field in door.fields("Notes")] == ["id", "note"]
    written(tmp_path, "note\tid\r1\tx\rx\t1\r")
    assert [field.name for field in door.fields("Notes")] == ["note", "id"]
    with pytest.raises(ExportChanged):
        door.read(Reading("Notes", door.fields("Notes")), lambda records: [*_after_a_removal(path, records)])
    with pytest.raises(ExportStop, match="Notes is not in the folder any more"):
        door.fields("Notes")


def test_a_file_that_changes_before_the_last_one_is_read_stops(tmp_path: Path) -> None:
    visits = replace(NAMED, files=("Visits",))

    def read(door: ExportsDoor, name: str) -> int:
        return door.read(Reading(name, door.fields(name)), lambda records: len(list(records)))

    for change in (lambda path: path.write_text("1\t\tx\r2\t\ty\r"), Path.unlink):
        for name in ("Notes.tab", "Visits.tab"):
            written(tmp_path, "1\t\tx\r", name)
        with ExportsDoor(tmp_path, [OPTIONS, visits]) as door:
            assert read(door, "Notes") == 1
            change(tmp_path / "Notes.tab")
            with pytest.raises(ExportChanged, match=r"Notes.tab changed after it was read"):
                read(door, "Visits")


def test_a_folder_that_is_not_there_or_not_named_stops(tmp_path: Path) -> None:
    with pytest.raises(ExportStop, match=r"folder of exports cannot be read .*No such file"):
        ExportsDoor(tmp_path / "nowhere").tables()
    settings = load_settings(_env_file=None, nexus_database_url="postgresql://x/y", filemaker_door="exports")
    with pytest.raises(SettingsError, match="FILEMAKER_EXPORTS_FOLDER is not set"):
        require_source(settings)
    named = settings.model_copy(update={"filemaker_exports_folder": tmp_path})
    assert open_door(named).kind == "exports"
