"""Marks, rows and files that disagree: listed, and repaired only where it is asked for."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from fm_pipeline.cli.main import main
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.images.containers.choices import DisagreementKind
from fm_pipeline.images.containers.reconcile import reconcile
from fm_pipeline.sandbox.filemaker.data.schema import StoredContainerFile
from fm_pipeline_tests.images.containers.clinic import DATABASE, TABLE, ImageClinic
from fm_pipeline_tests.support.pictures import picture

MARK = {"NexusExportDate": "2025-11-05T10:00:00"}
NO_MARK = {"NexusExportDate": ""}


@pytest.fixture
def torn(clinic: ImageClinic) -> ImageClinic:
    """One image in order, and one of each kind that is not."""
    for number in range(1, 4):
        clinic.add(number)
    clinic.run()  # 1 stays in order
    clinic.store.edit(DATABASE, TABLE, 2, NO_MARK)
    ((key,),) = clinic.execute(
        "SELECT s3_key FROM images_image i JOIN fm_pipeline.crosswalk c ON c.nexus_id = i.id"
        " WHERE c.entity = 'image_recid' AND c.filemaker_key = '3'"
    )
    clinic.bucket.client.delete_object(Bucket=clinic.bucket.name, Key=key)
    clinic.add(4, **MARK)
    clinic.add(5, **MARK)
    clinic.bucket.put_bulk("5.jpg", picture(5))
    clinic.add(6)  # neither mark nor row: nothing is wrong
    return clinic


def test_an_image_that_somebody_has_removed_in_nexus_does_not_come_back_with_those_that_were_never_imported(
    clinic: ImageClinic,
) -> None:
    clinic.add(1)
    clinic.run()
    clinic.execute("DELETE FROM images_image")
    clinic.add(2, **MARK)
    found = reconcile(clinic.settings, repair=["mark_without_file"])
    assert (found.found, clinic.marked()) == ({"mark_without_file": [2], "removed_in_nexus": [1]}, {1})
    clinic.run()
    assert (len(clinic.images()), clinic.marked()) == (1, {1, 2})
    reconcile(clinic.settings, repair=["removed_in_nexus"])
    clinic.run()
    assert (len(clinic.images()), reconcile(clinic.settings).found) == (2, {})


@pytest.mark.hard_case(32)
def test_an_image_that_was_removed_in_nexus_is_known_by_its_uuid_after_a_clone_has_numbered_the_records_anew(
    clinic: ImageClinic,
) -> None:
    clinic.add(1)
    clinic.run()
    clinic.execute("DELETE FROM images_image")
    clinic.store.delete(DATABASE, TABLE, 1)
    clinic.add(1, **MARK)
    assert reconcile(clinic.settings).found == {"removed_in_nexus": [2]}
    clinic.execute("UPDATE fm_pipeline.waterfall_images SET filemaker_key = 'of another image'")
    assert reconcile(clinic.settings, repair=["mark_without_file"]).found == {"removed_in_nexus": [2]}
    assert clinic.marked() == {2}


EXPECTED: dict[DisagreementKind, list[int]] = {
    "mark_without_file": [4],
    "mark_without_row": [5],
    "file_without_mark": [2],
    "row_without_file": [3],
}


def test_each_disagreement_is_listed_by_kind_and_nothing_is_changed(torn: ImageClinic) -> None:
    before = torn.bucket.objects(), torn.images(), torn.marks()
    found = reconcile(torn.settings)
    assert (found.records, found.found, found.repaired) == (6, EXPECTED, {})
    assert (torn.bucket.objects(), torn.images(), torn.marks()) == before


def test_they_are_listed_in_a_release_too_that_no_image_can_be_written_into(torn: ImageClinic) -> None:
    torn.execute(
        "ALTER TABLE images_image ALTER uploaded_at TYPE timestamp, ADD rights integer NOT NULL DEFAULT 1;"
        " ALTER TABLE images_image ALTER rights DROP DEFAULT"
    )
    with pytest.raises(CatalogueStop, match="without their zone"):
        torn.run()
    assert reconcile(torn.settings).found == EXPECTED


def test_only_the_kinds_that_are_named_are_repaired(torn: ImageClinic) -> None:
    found = reconcile(torn.settings, repair=["file_without_mark"])
    assert found.repaired == {"file_without_mark": [2]}
    assert torn.marked() == {1, 2, 3, 4, 5}
    assert "file_without_mark" not in reconcile(torn.settings).found


def test_after_all_repairs_an_import_takes_what_was_never_taken(torn: ImageClinic) -> None:
    found = reconcile(torn.settings, repair=["mark_without_file", "file_without_mark", "row_without_file"])
    assert found.not_repaired == {}
    assert torn.marked() == {1, 2, 3, 5}
    assert reconcile(torn.settings).found == {"mark_without_row": [5]}
    report = torn.run()
    assert report.count("imported") == 2
    assert torn.marked() == {1, 2, 3, 4, 5, 6}


def test_a_row_gets_only_a_picture_of_the_size_that_it_states(torn: ImageClinic) -> None:
    torn.store.edit(DATABASE, TABLE, 3, {"image_Full": StoredContainerFile(picture(99, (300, 200)))})
    files = torn.files()
    found = reconcile(torn.settings, repair=["row_without_file"])
    assert found.not_repaired == {3: "the picture in FileMaker is not the one that the row tells of"}
    assert torn.files() == files


def test_an_overloaded_server_ends_the_repair_with_a_message(torn: ImageClinic) -> None:
    torn.stand_in.disturb("bad_gateway", of=["container"], times=None)
    settings = torn.settings.model_copy(update={"filemaker_image_failures": 1})
    found = reconcile(settings, repair=["row_without_file", "file_without_mark"], sleep=torn.paused.append)
    assert "wait an hour" in str(found.stopped)
    assert list(found.not_repaired) == [3]


def test_the_commands_show_what_was_found_and_done(torn: ImageClinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(torn.settings.state_dir.parent)
    for name, value in torn.settings.model_dump(exclude_unset=True).items():
        monkeypatch.setenv(name.upper(), value.get_secret_value() if hasattr(value, "get_secret_value") else str(value))
    runner = CliRunner()
    shown = runner.invoke(main, ["images", "reconcile"])
    assert shown.exit_code == 0, shown.output
    assert "Record ids: 4" in shown.output
    assert "Nothing was changed" in shown.output
    repaired = runner.invoke(main, ["images", "reconcile", "--repair", "mark_without_file", "--all-ids"])
    assert repaired.exit_code == 0, repaired.output
    imported = runner.invoke(main, ["images", "import", "--batch-size", "2"])
    assert imported.exit_code == 0, imported.output
    assert "image_Full" in imported.output
    assert "100.0" in imported.output
    again = runner.invoke(main, ["images", "import", "--dry-run"])
    assert "Nothing was downloaded, written or marked." in again.output
