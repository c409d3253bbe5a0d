"""The waterfall from end to end: everything is taken, once, in the right order, and nothing is marked too early."""

from __future__ import annotations

import hashlib
import re
import threading
import uuid

import pytest

from fm_pipeline.errors import LockStop, MappingError
from fm_pipeline.filemaker.connect import open_client
from fm_pipeline.filemaker.errors import PrivilegeMissing
from fm_pipeline.images.containers.import_images import Callbacks
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, ServerAccount, StoredContainerFile
from fm_pipeline_tests.images.containers.clinic import DATABASE, FIELDS, LAYOUT, PASSWORD, TABLE, USER, ImageClinic
from fm_pipeline_tests.support.pictures import picture

STEPS = ("list", "download", "upload", "ledger", "link", "commit", "mark", "done")


class Killed(BaseException):
    """The process ends here."""


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_images_go_into_s3_and_nexus_and_get_their_mark(clinic: ImageClinic) -> None:
    ids = [clinic.add(number) for number in range(1, 8)]
    report = clinic.run()
    assert (report.stopped, report.listed, report.count("imported"), report.left) == (None, 7, 7, 0)
    assert report.by_container()[0] == ("image_Full", 7, 100.0)
    assert clinic.marked() == set(range(1, 8))
    assert sorted(own_id for own_id, _, _ in clinic.images()) == sorted(ids)
    clinic.check()
    for number, own_id in enumerate(ids, 1):
        ((key, etag),) = [(key, etag) for key, (_, etag) in clinic.files().items() if own_id in key]
        assert etag.strip('"') == md5(picture(number))
        patient = clinic.patients[number % len(clinic.patients)][0]
        assert key.startswith(f"patients/images/{patient}/")
        assert key.replace(".jpg", "_thumb.jpg") in clinic.bucket.objects()


def test_rows_of_nexus_say_what_the_picture_is(clinic: ImageClinic) -> None:
    content = picture(1, (640, 480))
    clinic.add(1, date="2016-11-05", Type="L-Brannock", image_Full=content)
    clinic.run()
    assert clinic.execute(
        "SELECT b.name, b.image_count, i.category, i.date_taken::text, i.width, i.height, i.mime_type, i.file_size"
        " FROM images_image i JOIN images_batch b ON b.id = i.batch_id"
    ) == [
        ("5 Nov 2016 (FileMaker Import)", 1, "L-Brannock", "2016-11-05", 640, 480, "image/jpeg", len(content)),
    ]


def test_a_second_run_does_nothing(clinic: ImageClinic) -> None:
    clinic.add(1)
    clinic.run()
    before = clinic.bucket.objects(), clinic.images(), clinic.marks()
    clinic.stand_in.reset_counters()
    report = clinic.run()
    assert (report.listed, report.outcomes) == (0, {})
    assert (clinic.bucket.objects(), clinic.images(), clinic.marks()) == before
    assert "container" not in clinic.stand_in.counters()["requests"]


def test_no_record_is_skipped_while_the_set_of_unmarked_ones_shrinks(clinic: ImageClinic) -> None:
    for number in range(1, 25):
        clinic.add(number, image_Full="", image_small=picture(number % 3))
    clinic.settings = clinic.settings.model_copy(update={"filemaker_page_size": 5})
    report = clinic.run(batch_size=4)
    assert (report.count("imported"), len(clinic.marked())) == (24, 24)
    clinic.check()


def test_paging_over_the_shrinking_set_would_have_skipped_half(clinic: ImageClinic) -> None:
    """What happened in the field: the reason for the list."""
    for number in range(1, 25):
        clinic.add(number, image_Full="")
    with open_client(clinic.settings) as client:
        offset = 1
        while page := client.find(LAYOUT, [{"NexusExportDate": "="}], offset=offset, limit=4).records:
            for record in page:
                client.edit(LAYOUT, record.record_id, {"NexusExportDate": "11/05/2025 10:00:00"})
            offset += 4
    assert len(clinic.marked()) == 12


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.hard_case(30)
def test_killed_after_any_step_the_next_run_finishes_and_nothing_is_there_twice(clinic: ImageClinic, step: str) -> None:
    for number in range(1, 4):
        clinic.add(number)

    def kill(done: str) -> None:
        if done == step:
            raise Killed

    with pytest.raises(Killed):
        clinic.run(callbacks=clinic.callbacks(step=kill))
    clinic.check()
    assert len(clinic.marked()) == (1 if step in {"mark", "done"} else 0)
    clinic.stand_in.reset_counters()
    report = clinic.run()
    assert report.stopped is None
    assert clinic.marked() == {1, 2, 3}
    assert {state for state, _ in clinic.states().values()} == {"marked"}
    assert len(clinic.images()) == len(clinic.files()) == 3
    clinic.check()
    again = {"list": 3, "download": 3, "upload": 3, "ledger": 2}.get(step, 0)
    assert clinic.stand_in.counters()["requests"].get("container", 0) == again


def test_limit_takes_so_many_and_the_next_run_begins_with_those_never_tried(clinic: ImageClinic) -> None:
    clinic.add(1, image_Full="")
    for number in range(2, 6):
        clinic.add(number)
    first = clinic.run(limit=2)
    assert (first.listed, set(first.outcomes), first.left) == (5, {1, 2}, 4)
    assert set(clinic.run(limit=2).outcomes) == {3, 4}
    assert set(clinic.run(limit=2).outcomes) == {5, 1}


def test_a_dry_run_decides_and_does_nothing(clinic: ImageClinic) -> None:
    clinic.add(1)
    clinic.add(2, image_Full="")
    clinic.add(3, patient_id="nobody")
    report = clinic.run(dry_run=True)
    assert (report.count("imported"), report.reasons("skipped")) == (
        1,
        {"all_containers_empty": 1, "patient_unknown": 1},
    )
    assert (clinic.bucket.objects(), clinic.images(), clinic.marked(), clinic.states()) == ({}, [], set(), {})
    assert "container_key" not in clinic.stand_in.counters()["requests"]


def test_without_the_field_for_the_mark_nothing_is_downloaded(clinic: ImageClinic) -> None:
    clinic.add(1)
    clinic.stand_in.faults(missing_fields={LAYOUT: ["NexusExportDate"]})
    with pytest.raises(MappingError, match=r"add the field NexusExportDate \(Timestamp\) to the layout API_Images"):
        clinic.run()
    assert "container_key" not in clinic.stand_in.counters()["requests"]


def test_an_account_that_may_not_see_the_mark_gets_an_error_and_no_empty_list(clinic: ImageClinic) -> None:
    clinic.add(1)
    clinic.store.add_account(DATABASE, ServerAccount(USER, PASSWORD, no_access={TABLE: ["NexusExportDate"]}))
    with pytest.raises(PrivilegeMissing, match="may not see the field NexusExportDate"):
        clinic.run()


def test_a_layout_that_lacks_a_container_says_which_and_takes_the_others(clinic: ImageClinic) -> None:
    clinic.add(1, image_small=picture(9))
    clinic.stand_in.faults(missing_fields={LAYOUT: ["image_Full"]})
    report = clinic.run()
    assert report.missing == ("image_Full",)
    assert [name for name, images, _ in report.by_container() if images] == ["image_small"]


def test_two_runs_at_once_are_refused(clinic: ImageClinic) -> None:
    clinic.add(1)
    inside, refused = threading.Event(), []

    def second(step: str) -> None:
        if step == "download" and not inside.is_set():
            inside.set()
            try:
                clinic.run(callbacks=Callbacks())
            except LockStop as error:
                refused.append(error)

    assert clinic.run(callbacks=clinic.callbacks(step=second)).count("imported") == 1
    assert len(refused) == 1


def test_an_image_that_nexus_has_already_is_only_marked(clinic: ImageClinic) -> None:
    clinic.add(1)
    clinic.run()
    clinic.store.edit(DATABASE, TABLE, 1, {"NexusExportDate": ""})
    clinic.execute("DELETE FROM fm_pipeline.waterfall_images")  # as after a link of the bulk dump
    clinic.stand_in.reset_counters()
    report = clinic.run()
    assert (report.count("already_linked"), clinic.marked()) == (1, {1})
    assert "container" not in clinic.stand_in.counters()["requests"]
    clinic.check()


@pytest.mark.hard_case(30)
def test_no_mark_for_an_image_whose_file_is_not_in_s3(clinic: ImageClinic) -> None:
    clinic.add(1)
    clinic.run()
    clinic.store.edit(DATABASE, TABLE, 1, {"NexusExportDate": ""})
    for key in clinic.files():
        clinic.bucket.client.delete_object(Bucket=clinic.bucket.name, Key=key)
    report = clinic.run()
    assert (report.reasons("failed"), clinic.marked()) == ({"row_without_file": 1}, set())
    assert report.as_dict()["failed"] == {"row_without_file": [1]}


@pytest.mark.parametrize(
    ("kind", "bulk", "pattern"),
    [
        ("timestamp", "?", r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"),
        ("date", "?", r"\d\d/\d\d/\d{4}|\d{4}-\d\d-\d\d"),
        ("text", "1", r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d"),
    ],
)
def test_the_mark_may_be_a_timestamp_a_date_or_text_and_the_upload_scripts_mark_counts(
    clinic: ImageClinic, kind: str, bulk: str, pattern: str
) -> None:
    """FileMaker's upload script has set 1, which a field for dates shows as a question mark."""
    fields = [FieldDefinition(each.name, kind) if each.name == "NexusExportDate" else each for each in FIELDS]  # type: ignore[arg-type]
    clinic.store.create_table(DATABASE, "Marked", fields)
    clinic.store.create_layout(DATABASE, LAYOUT, "Marked", [each.name for each in fields])
    row = {"patient_id": clinic.patients[0][1], "date": "2016-10-01", "image_Full": StoredContainerFile(picture(1))}
    clinic.store.insert(
        DATABASE, "Marked", [{**row, "id": str(uuid.uuid4()), "NexusExportDate": mark} for mark in ("", bulk)]
    )
    report = clinic.run()
    assert (report.stopped, report.listed, report.count("imported")) == (None, 1, 1)
    marks = clinic.marks()
    assert re.fullmatch(pattern, marks[1])
    assert marks[2] == bulk
    assert clinic.run().listed == 0
