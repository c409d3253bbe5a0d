"""Records that somebody opens, edits, replaces or deletes while an import is at work."""

from __future__ import annotations

import pytest

from fm_pipeline.sandbox.filemaker.data.schema import StoredContainerFile
from fm_pipeline_tests.images.containers.clinic import DATABASE, TABLE, ImageClinic
from fm_pipeline_tests.staging.changing import rename_file
from fm_pipeline_tests.support.pictures import PDF, picture


def test_a_record_that_somebody_has_open_is_marked_later_and_counted(clinic: ImageClinic) -> None:
    clinic.add(1)
    clinic.add(2)
    clinic.stand_in.faults(records_in_use={TABLE: [1]})
    report = clinic.run()
    assert (report.count("imported"), report.count("in_use"), clinic.marked()) == (1, 1, {2})
    clinic.check()
    clinic.stand_in.faults()
    clinic.stand_in.reset_counters()
    written = "SELECT record_id, linked_at FROM fm_pipeline.waterfall_images ORDER BY 1"
    before = clinic.execute(written)
    assert clinic.run().count("imported") == 1
    assert clinic.execute(written) == before, "the second run has written nothing into Nexus"
    assert "container" not in clinic.stand_in.counters()["requests"]
    assert clinic.marked() == {1, 2}


def test_a_record_that_is_open_for_a_moment_is_marked_at_the_end_of_the_same_run(clinic: ImageClinic) -> None:
    clinic.add(1)
    clinic.stand_in.faults(records_in_use={TABLE: [1]})
    report = clinic.run(callbacks=clinic.callbacks(sleep=lambda _: clinic.stand_in.faults()))
    assert (report.count("imported"), clinic.marked()) == (1, {1})


@pytest.mark.parametrize(
    ("edited", "outcomes"),
    [({"Type": "Right"}, {1}), ({"patient_id": "other"}, set())],
)
def test_an_edit_between_reading_and_marking_is_read_again(
    clinic: ImageClinic, edited: dict[str, str], outcomes: set[int]
) -> None:
    clinic.add(1, patient_id=clinic.patients[0][1])
    if "patient_id" in edited:
        edited = {"patient_id": clinic.patients[1][1]}

    def edit(step: str) -> None:
        if step == "commit":
            clinic.store.edit(DATABASE, TABLE, 1, edited)

    report = clinic.run(callbacks=clinic.callbacks(step=edit))
    assert clinic.marked() == outcomes
    assert report.reasons("failed") == ({} if outcomes else {"changed_after_link": 1})


@pytest.mark.parametrize("when", ["uploaded", "linked", "in another run after the upload", "while it was open"])
@pytest.mark.hard_case(30)
def test_a_picture_that_somebody_replaces_before_the_mark_is_not_marked_for_the_one_in_nexus(
    clinic: ImageClinic, when: str
) -> None:
    clinic.add(1)

    def replace_at(step: str) -> None:
        if step == {"uploaded": "ledger", "linked": "commit"}.get(when):
            clinic.store.edit(DATABASE, TABLE, 1, {"image_Full": StoredContainerFile(picture(8))})

    def kill(step: str) -> None:
        if step == "ledger":
            raise KeyboardInterrupt

    if when == "in another run after the upload":
        with pytest.raises(KeyboardInterrupt):
            clinic.run(callbacks=clinic.callbacks(step=kill))
    elif when == "while it was open":
        clinic.stand_in.faults(records_in_use={TABLE: [1]})
        assert clinic.run().count("in_use") == 1
        clinic.stand_in.faults()
    if when not in {"uploaded", "linked"}:
        clinic.store.edit(DATABASE, TABLE, 1, {"image_Full": StoredContainerFile(picture(8))})
    reason = "target_differs" if when == "in another run after the upload" else "picture_changed"
    for _ in range(2):  # it stays so until somebody has looked
        report = clinic.run(callbacks=clinic.callbacks(step=replace_at))
        assert (report.reasons("failed"), clinic.marked()) == ({reason: 1}, set())
    assert [size for size, _ in clinic.files().values()] == [len(picture(1))]
    clinic.check()
    clinic.store.edit(DATABASE, TABLE, 1, {"image_Full": StoredContainerFile(picture(1))})
    assert clinic.run().count("imported") == 1
    clinic.check()


def test_a_record_edited_after_its_picture_was_stored_is_marked_because_the_picture_is_the_same(
    clinic: ImageClinic,
) -> None:
    clinic.add(1, image_Ex_large=PDF, image_Full=PDF, image_large=picture(4))
    clinic.stand_in.faults(records_in_use={TABLE: [1]})
    assert clinic.run().count("in_use") == 1
    clinic.stand_in.faults()
    clinic.store.edit(DATABASE, TABLE, 1, {"date": "2016-10-02"})
    assert (clinic.run().count("imported"), clinic.marked()) == (1, {1})


def test_a_picture_of_a_file_with_another_name_is_compared_whatever_its_modification_id_is(clinic: ImageClinic) -> None:
    clinic.add(1, id="")  # nothing but its record id tells it from others
    clinic.stand_in.faults(records_in_use={TABLE: [1]})
    assert clinic.run().count("in_use") == 1
    clinic.stand_in.faults()
    clinic.store.edit(DATABASE, TABLE, 1, {"image_Full": StoredContainerFile(picture(8))})
    with clinic.store.transaction() as db:  # as often edited as the record that is known
        db.execute(f"UPDATE {clinic.store.table(DATABASE, TABLE).rows} SET mod_id = mod_id - 1")  # noqa: S608
    rename_file(clinic.store, "clinic of Friday")
    clinic.settings = clinic.settings.model_copy(update={"filemaker_database": "clinic of Friday"})
    assert (clinic.run().reasons("failed"), clinic.marked()) == ({"picture_changed": 1}, set())


def in_use_for_some_runs(clinic: ImageClinic) -> None:
    """Its picture is in Nexus, and the record has had its turn several times."""
    clinic.stand_in.faults(records_in_use={TABLE: [1]})
    for _ in "ab":
        assert clinic.run().count("in_use") == 1
    clinic.stand_in.faults()


def test_a_download_that_breaks_is_no_replaced_picture_however_often_the_record_was_tried(clinic: ImageClinic) -> None:
    clinic.add(1)
    in_use_for_some_runs(clinic)
    clinic.store.edit(DATABASE, TABLE, 1, {"date": "2016-10-02"})
    clinic.stand_in.disturb("cut", of=["container"])
    report = clinic.run()
    assert (report.reasons("failed"), report.count("imported"), clinic.marked()) == ({}, 1, {1})


def test_an_image_that_is_asked_for_again_does_not_come_smaller_because_a_download_breaks(clinic: ImageClinic) -> None:
    clinic.add(1, image_small=picture(9))
    in_use_for_some_runs(clinic)
    assert clinic.run().count("imported") == 1
    clinic.execute("DELETE FROM images_image")
    clinic.store.edit(DATABASE, TABLE, 1, {"NexusExportDate": ""})
    clinic.stand_in.disturb("cut", of=["container"])
    assert clinic.run().passed_over() == {}
    clinic.check()


def test_a_record_that_is_deleted_meanwhile_ends_as_gone(clinic: ImageClinic) -> None:
    clinic.add(1)
    clinic.add(2)

    def delete(step: str) -> None:
        if step == "list":
            clinic.store.delete(DATABASE, TABLE, 1)

    report = clinic.run(callbacks=clinic.callbacks(step=delete))
    assert (report.reasons("skipped"), report.count("imported"), report.left) == ({"gone": 1}, 1, 0)
