"""Broken containers, tired servers, open records, and records that contradict themselves or Nexus."""

from __future__ import annotations

import datetime as dt
import struct
import uuid
from importlib import resources
from typing import Any

import pytest

from fm_pipeline.filemaker.errors import PrivilegeMissing
from fm_pipeline.images.containers import best_container
from fm_pipeline.images.containers.backoff import TooManyFailures
from fm_pipeline.images.pictures import inspect as pictures
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, ServerAccount, StoredContainerFile
from fm_pipeline_tests.images.containers.clinic import DATABASE, FIELDS, LAYOUT, PASSWORD, TABLE, USER, ImageClinic
from fm_pipeline_tests.images.pictures.samples import exif_block, jpeg_with, segment, turned
from fm_pipeline_tests.support.pictures import ERROR_PAGE, PDF, picture

JPEG = picture(1)
BROKEN: dict[str, tuple[Any, str]] = {
    "an empty file": (b"", "empty"),
    "a web page called .jpg": (ERROR_PAGE, "html"),
    "a web page that says so": (StoredContainerFile(ERROR_PAGE, mime="text/html"), "html"),
    "a PDF called .jpg": (PDF, "pdf"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "broken"),
    "a question mark": ("?", "no_url"),
    "no access": ("<No Access>", "no_url"),
}


@pytest.mark.hard_case(28)
def test_a_broken_better_container_is_passed_over_and_counted(clinic: ImageClinic) -> None:
    for number, (content, _) in enumerate(BROKEN.values(), 1):
        clinic.add(number, image_Full=content, image_large=picture(20 + number), image_small=picture(3))
    report = clinic.run()
    assert report.by_container()[2] == ("image_large", len(BROKEN), 100.0)
    reasons = dict(
        zip(BROKEN, (dict(report.outcomes[number].passed_over) for number in sorted(report.outcomes)), strict=True)
    )
    assert reasons == {what: {"image_Full": reason} for what, (_, reason) in BROKEN.items()}
    assert clinic.marked() == set(range(1, len(BROKEN) + 1))
    sizes = sorted(size for size, _ in clinic.files().values())
    assert sizes == sorted(len(picture(20 + number)) for number in clinic.marked())


def test_a_photograph_with_a_malformed_tag_is_imported_and_stops_no_other(clinic: ImageClinic) -> None:
    block = exif_block((0x13B, 5, 1, struct.pack("<LL", 300, 1)), turned(6))
    clinic.add(1, image_Full=jpeg_with(segment(0xE1, b"Exif\0\0" + block)))
    clinic.add(2)
    assert clinic.run().count("imported") == 2
    assert clinic.marked() == {1, 2}


@pytest.mark.parametrize(("fault", "reason"), [(KeyError, "unexpected_error"), (MemoryError, "no_memory")])
def test_an_unexpected_error_fails_one_record_and_stops_no_other(
    clinic: ImageClinic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: type, reason: str
) -> None:
    looked = pictures.inspect_with_thumbnail

    def inspect(data: bytes) -> Any:
        if data != picture(7):
            return looked(data)
        if fault is MemoryError:
            return pictures.RejectedPicture("no_memory")
        raise KeyError("CANARY")

    monkeypatch.setattr(best_container, "inspect_with_thumbnail", inspect)
    clinic.add(1, image_Full=picture(7), image_small=picture(8))
    clinic.add(2)
    report = clinic.run()
    assert (report.count("imported"), report.reasons("failed")) == (1, {reason: 1})
    assert clinic.marked() == {2}  # the smaller picture does not take the place of one that may be whole
    assert ("KeyError" in caplog.text) == (fault is KeyError)
    assert "CANARY" not in caplog.text
    monkeypatch.undo()
    assert clinic.run().count("imported") == 1
    clinic.check()


@pytest.mark.hard_case(28)
def test_a_png_called_jpg_is_a_png(clinic: ImageClinic) -> None:
    own_id = clinic.add(1, image_Full=picture(1, kind="PNG"))
    clinic.run()
    ((_, key, _),) = clinic.images()
    assert key.endswith(f"{own_id}.png")
    assert clinic.execute("SELECT mime_type FROM images_image") == [("image/png",)]


def test_an_image_without_any_readable_container_is_never_marked_and_tried_again(clinic: ImageClinic) -> None:
    clinic.add(1, image_Full=PDF, image_small="?")
    report = clinic.run()
    assert (report.reasons("failed"), clinic.marked(), clinic.files()) == ({"not_readable": 1}, set(), {})
    assert clinic.states() == {1: ("failed", "not_readable")}
    clinic.store.edit(DATABASE, TABLE, 1, {"image_Full": StoredContainerFile(JPEG)})
    assert clinic.run().count("imported") == 1
    clinic.check()


def test_empty_containers_and_unknown_patients_are_skips_that_a_later_run_takes_up(clinic: ImageClinic) -> None:
    clinic.add(1, image_Full="")
    clinic.add(2, patient_id="00000000-0000-0000-0000-00000000abcd")
    clinic.add(3, patient_id="")
    clinic.add(4, date="")
    report = clinic.run()
    assert report.reasons("skipped") == dict.fromkeys(
        ("all_containers_empty", "patient_unknown", "no_patient", "no_date"), 1
    )
    assert report.left == 4
    assert "container_key" not in clinic.stand_in.counters()["requests"]
    clinic.store.edit(DATABASE, TABLE, 1, {"image_medium": StoredContainerFile(JPEG)})
    clinic.store.edit(DATABASE, TABLE, 2, {"patient_id": clinic.patients[0][1].upper()})
    clinic.store.edit(DATABASE, TABLE, 3, {"patient_id": clinic.patients[0][0]})  # the id of Nexus is as good
    clinic.store.edit(DATABASE, TABLE, 4, {"date": "2016-01-01"})
    assert clinic.run().count("imported") == 4
    clinic.check()


def change_profile(clinic: ImageClinic, old: str, new: str) -> None:
    """Change what the profile says of images."""
    profile = clinic.settings.state_dir.parent / "changed.yaml"
    shipped = resources.files("fm_pipeline.entities").joinpath("nexus.yaml")
    head, _, image = shipped.read_text("utf-8").partition("\nimage:")
    assert old in image
    profile.write_text(f"{head}\nimage:{image.replace(old, new)}", "utf-8")
    clinic.settings = clinic.settings.model_copy(update={"filemaker_profile": str(profile)})


def test_a_date_that_somebody_typed_is_never_guessed(clinic: ImageClinic) -> None:
    fields = [FieldDefinition("date") if each.name == "date" else each for each in FIELDS]
    clinic.store.create_table(DATABASE, "Typed", fields)
    clinic.store.create_layout(DATABASE, LAYOUT, "Typed", [each.name for each in fields])
    for number, day in enumerate(("05/11/2016", "18/10/2016", "2016-11-05", ""), start=1):
        row = {"id": str(uuid.uuid4()), "patient_id": clinic.patients[0][1], "recid": number, "date": day}
        clinic.store.insert(DATABASE, "Typed", [row | {"image_Full": StoredContainerFile(JPEG)}])
    assert clinic.run(dry_run=True).reasons("skipped") == {"date_unreadable": 1, "no_date": 1}
    change_profile(clinic, "  fields:", "  dates: dmy\n  fields:")
    assert clinic.run().count("imported") == 3
    days = clinic.execute("SELECT DISTINCT date_taken FROM images_image ORDER BY 1")
    assert [day for (day,) in days] == [dt.date(2016, 10, 18), dt.date(2016, 11, 5)]


@pytest.mark.hard_case(32)
def test_a_record_of_two_patients_is_shown_to_neither(clinic: ImageClinic) -> None:
    change_profile(clinic, "patient: [patient_id]", "patient: [patient_id, second_patient_id]")
    (_, one), (_, other) = clinic.patients[:2]
    clinic.add(1, patient_id=one, second_patient_id=other)
    clinic.add(2, patient_id=one, second_patient_id="00000000-0000-0000-0000-00000000abcd")
    clinic.add(3, patient_id=one, second_patient_id=one.upper())
    clinic.add(4, patient_id="00000000-0000-0000-0000-00000000abcd", second_patient_id=one)
    report = clinic.run()
    assert report.reasons("skipped") == {"two_patients": 1, "patient_unknown": 1}
    assert clinic.marked() == {2, 3}  # of several fields the first that is not empty counts


@pytest.mark.hard_case(32)
def test_two_records_with_one_id_are_both_left_alone(clinic: ImageClinic) -> None:
    own_id = clinic.add(1)
    clinic.add(2, id=own_id)
    clinic.add(3, recid=7, patient_id=clinic.patients[0][1])
    clinic.add(4, recid=7, patient_id=clinic.patients[0][1])
    report = clinic.run()
    assert report.reasons("skipped") == {"id_twice": 3}
    assert (report.count("imported"), len(clinic.marked()), len(clinic.images())) == (1, 1, 1)
    assert clinic.run().reasons("skipped") == {"id_twice": 3}
    clinic.check()


@pytest.mark.hard_case(32)
def test_a_record_with_the_id_of_one_that_was_imported_long_ago_is_not_marked_for_it(clinic: ImageClinic) -> None:
    own_id = clinic.add(1)
    clinic.run()
    clinic.execute("DELETE FROM fm_pipeline.waterfall_images")  # it was linked by other means
    clinic.add(2, id=own_id, patient_id=clinic.patients[1][1], image_Full=picture(7))
    report = clinic.run()
    assert (report.reasons("skipped"), clinic.marked()) == ({"id_twice": 1}, {1})


@pytest.mark.hard_case(32)
def test_a_record_id_that_another_image_had_before_filemakers_file_was_cloned_or_restored_is_imported_beside_it(
    clinic: ImageClinic,
) -> None:
    clinic.add(1)
    clinic.run()
    other = "00000000-0000-4000-8000-0000000000aa"  # the same number, patient and day, and another image
    clinic.store.edit(
        DATABASE, TABLE, 1, {"id": other, "NexusExportDate": "", "image_Full": StoredContainerFile(picture(9))}
    )
    report = clinic.run()
    assert (report.count("imported"), clinic.marked(), len(clinic.images()), len(clinic.files())) == (1, {1}, 2, 2)
    clinic.store.edit(DATABASE, TABLE, 1, {"NexusExportDate": ""})
    clinic.run()
    assert (clinic.marked(), len(clinic.images()), len(clinic.files())) == ({1}, 2, 2)


@pytest.mark.hard_case(32)
def test_an_image_whose_record_id_was_another_ones_is_refused_if_nexus_takes_none_without_its_record_id(
    clinic: ImageClinic,
) -> None:
    clinic.execute("ALTER TABLE images_image ADD filemaker_recid integer NOT NULL DEFAULT 0")
    clinic.add(1)
    clinic.run()
    clinic.store.edit(DATABASE, TABLE, 1, {"id": "00000000-0000-4000-8000-0000000000aa", "NexusExportDate": ""})
    report = clinic.run()
    assert (report.reasons("failed"), clinic.marked(), len(clinic.images())) == ({"recid_reused": 1}, set(), 1)


@pytest.mark.hard_case(32)
def test_an_image_with_the_record_id_of_one_that_is_gone_from_both_systems_is_told_from_it(clinic: ImageClinic) -> None:
    first = clinic.add(1)
    clinic.run()
    clinic.execute("DELETE FROM images_image")
    other = "00000000-0000-4000-8000-0000000000aa"
    changed = {"id": other, "NexusExportDate": "", "image_Full": StoredContainerFile(picture(9))}
    clinic.store.edit(DATABASE, TABLE, 1, changed)
    assert clinic.run().count("imported") == 1
    clinic.add(2, id=first)  # it comes back, and the other one is not taken for it
    assert clinic.run().count("imported") == 1
    assert (len(clinic.images()), clinic.marked()) == (2, {1, 2})


@pytest.mark.hard_case(32)
def test_an_import_continues_with_a_clone_of_filemakers_file_that_numbers_records_anew(clinic: ImageClinic) -> None:
    for number in (1, 2, 3):
        clinic.add(number)
    clinic.run(limit=1)
    clinic.execute("UPDATE fm_pipeline.waterfall_images SET state = 'linked', marked_at = NULL WHERE state = 'marked'")
    for number in (1, 2, 3):  # the first was linked, and its mark did not come
        clinic.store.delete(DATABASE, TABLE, number)
        clinic.add(number)
    report = clinic.run()
    assert (report.reasons("skipped"), report.count("imported"), clinic.marked()) == ({"gone": 1}, 2, {4, 5, 6})
    assert len(clinic.images()) == 3
    assert clinic.states()[1] == ("gone", "gone")


@pytest.mark.hard_case(32)
def test_the_same_bytes_in_two_records_are_two_images(clinic: ImageClinic) -> None:
    clinic.add(1, image_Full=JPEG)
    clinic.add(2, image_Full=JPEG)
    clinic.run()
    assert len(clinic.images()) == len(clinic.files()) == 2


def test_another_file_under_the_key_of_an_image_is_never_overwritten(clinic: ImageClinic) -> None:
    clinic.add(1)
    clinic.run()
    (key,) = clinic.files()
    clinic.bucket.put(key, b"somebody else's")
    clinic.execute("DELETE FROM images_image; DELETE FROM fm_pipeline.waterfall_images")
    clinic.store.edit(DATABASE, TABLE, 1, {"NexusExportDate": ""})
    report = clinic.run()
    assert (report.reasons("failed"), clinic.marked()) == ({"target_differs": 1}, set())
    assert clinic.files()[key][0] == len(b"somebody else's")


def test_an_image_of_another_patient_in_nexus_is_neither_moved_nor_marked(clinic: ImageClinic) -> None:
    clinic.add(1, patient_id=clinic.patients[0][1])
    clinic.run()
    clinic.store.edit(DATABASE, TABLE, 1, {"NexusExportDate": "", "patient_id": clinic.patients[1][1]})
    report = clinic.run()
    assert (report.reasons("failed"), clinic.marked()) == ({"linked_to_another_patient": 1}, set())
    assert clinic.images()[0][2] == clinic.patients[0][0]


def test_a_stopped_web_engine_gets_no_more_requests_and_the_run_says_what_to_do(clinic: ImageClinic) -> None:
    for number in range(1, 11):
        clinic.add(number)
    clinic.settings = clinic.settings.model_copy(update={"filemaker_image_failures": 3})
    clinic.stand_in.disturb("bad_gateway", of=["container"], after=4, times=None)
    report = clinic.run()
    assert isinstance(report.stopped, TooManyFailures)
    assert "3 records in a row failed" in str(report.stopped)
    assert "wait an hour" in str(report.stopped)
    assert [seconds for seconds in clinic.paused if seconds] == [60, 120]
    assert clinic.stand_in.counters()["requests"]["container"] == 4 + 3  # no storm
    assert (report.count("imported"), report.count("failed"), report.left) == (4, 3, 6)
    clinic.check()
    clinic.stand_in.faults()
    again = clinic.run()
    assert again.by_container_in_all_runs()[0] == ("image_Full", 10, 100.0)
    assert (again.count("imported"), clinic.marked()) == (6, set(range(1, 11)))
    assert again.stopped is None
    clinic.check()


def test_after_a_pause_the_run_goes_on_by_itself_and_comes_back_to_what_failed(clinic: ImageClinic) -> None:
    for number in range(1, 6):
        clinic.add(number)
    clinic.stand_in.disturb("service_unavailable", of=["container"], after=2, times=None)

    def pause(seconds: float) -> None:
        if seconds:
            clinic.stand_in.faults()

    report = clinic.run(callbacks=clinic.callbacks(sleep=pause))
    assert (report.stopped, report.count("imported"), clinic.marked()) == (None, 5, {1, 2, 3, 4, 5})
    assert clinic.said == ["FileMaker Server does not send files; the next try is in 60 seconds."]


@pytest.mark.parametrize("what", ["cut", "half", "unauthorized", "wrong_content"])
@pytest.mark.hard_case(31)
def test_a_download_that_breaks_once_does_not_cost_the_better_picture(clinic: ImageClinic, what: str) -> None:
    clinic.add(1, image_small=picture(9))
    clinic.stand_in.disturb(what, of=["container"])
    report = clinic.run()
    assert report.by_container()[0] == ("image_Full", 1, 100.0)
    assert report.passed_over() == {}


@pytest.mark.hard_case(31)
def test_a_container_that_never_comes_whole_is_passed_over_after_several_turns(clinic: ImageClinic) -> None:
    clinic.add(1, image_small=picture(9))
    clinic.stand_in.disturb("cut", of=["container"], times=4)
    first = clinic.run()  # two turns
    assert (first.reasons("failed"), clinic.marked()) == ({"does_not_come": 1}, set())
    second = clinic.run()
    assert second.by_container()[4] == ("image_small", 1, 100.0)
    assert second.passed_over() == {"image_Full: does_not_come": 1}


@pytest.mark.hard_case(31)
def test_a_session_that_dies_in_the_middle_costs_nothing(clinic: ImageClinic) -> None:
    for number in range(1, 6):
        clinic.add(number)

    def age(step: str) -> None:
        if step in {"download", "commit"}:
            clinic.stand_in.advance(minutes=16)

    report = clinic.run(callbacks=clinic.callbacks(step=age))
    assert (report.stopped, report.count("imported"), report.count("failed")) == (None, 5, 0)


def test_an_account_that_may_not_edit_the_mark_ends_the_run_at_once(clinic: ImageClinic) -> None:
    for number in range(1, 4):
        clinic.add(number)
    clinic.stand_in.disturb("code", code=201, of=["edit"], times=None)
    report = clinic.run(batch_size=1)
    assert isinstance(report.stopped, PrivilegeMissing)
    assert (len(clinic.images()), clinic.marked()) == (1, set())
    clinic.check()


def test_containers_that_the_account_may_not_see_end_the_run_before_long(clinic: ImageClinic) -> None:
    for number in range(1, 8):
        clinic.add(number)
    clinic.store.add_account(DATABASE, ServerAccount(USER, PASSWORD, no_access={TABLE: ["image_Full"]}))
    clinic.settings = clinic.settings.model_copy(update={"filemaker_image_failures": 3})
    report = clinic.run()
    assert report.reasons("failed") == {"not_readable": 3}
    assert isinstance(report.stopped, TooManyFailures)
