"""What an export says of its records, and what the link makes of it: ids, dates, file names, XML."""

from __future__ import annotations

import uuid

import pytest

from fm_pipeline.errors import ImageStop
from fm_pipeline.images.linking.steps import write_rows
from fm_pipeline_tests.images.exports.xml import xml
from fm_pipeline_tests.images.scene import Row, Scene, jpeg
from fm_pipeline_tests.support.clinics import RUN_TIME


def test_a_reference_may_be_in_any_letter_case_or_a_nexus_id(scene: Scene) -> None:
    for recid, reference in ((2, scene.key().upper()), (3, scene.key().lower()), (4, scene.patients[0][0].upper())):
        scene.s3.put_bulk(f"{recid}.jpg", jpeg(recid))
        scene.rows.append(Row(str(recid), reference))
    assert (report := scene.link()).linked == 3
    assert report.batches_created == 1


def test_an_image_that_nexus_has_by_its_uuid_is_not_doubled_by_an_export_without_uuids(scene: Scene) -> None:
    own = str(uuid.uuid4())
    scene.add(2, id=own.upper())
    scene.link()
    # As another import left it: nothing but the uuid, which only FileMaker's records tie to the record id.
    scene.bench.execute(
        "DELETE FROM fm_pipeline.crosswalk WHERE entity LIKE 'image%%'; DELETE FROM fm_pipeline.image_copies"
    )
    scene.bench.execute("UPDATE images_image SET s3_key = 'images/x.jpg', id = gen_random_uuid()")
    scene.bench.execute(
        "INSERT INTO fm_pipeline.staged_file_links VALUES ('image', %s, 2, %s)", own, scene.key().lower()
    )
    scene.rows = [Row("2", scene.key())]
    assert scene.link().already == 1
    assert scene.bench.execute("SELECT count(*) FROM images_image") == [(1,)]


def test_a_record_id_that_another_image_had_before_filemakers_file_was_cloned_is_not_taken_for_that_image(
    scene: Scene,
) -> None:
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    scene.add(2, id=one)
    scene.link()
    before = scene.images()
    scene.rows = [Row("2", scene.key(), id=other)]  # the number is another image's now
    report = scene.link()
    assert (report.errors, report.already, report.linked) == ({"recid_reused": 1}, 0, 0)
    scene.s3.put_bulk("3.jpg", jpeg(3))
    scene.rows = [Row("3", scene.key(), id=one)]  # and the image has another number, by which it is the same
    assert scene.link().already == 1
    assert scene.images() == before


def test_an_image_with_the_record_id_of_one_that_is_gone_from_nexus_is_not_taken_for_it(scene: Scene) -> None:
    scene.add(2, id=str(uuid.uuid4()))
    scene.link()
    scene.bench.execute("DELETE FROM images_image")
    scene.rows = [Row("2", scene.key(), id=str(uuid.uuid4()))]
    scene.s3.put_bulk("2.jpg", jpeg(9))  # perhaps it is the first image's, edited: its name does not tell
    assert scene.link().errors == {"recid_reused": 1}
    assert scene.images() == {}


def test_an_image_that_is_known_by_its_uuid_may_have_a_number_that_was_another_ones(scene: Scene) -> None:
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    scene.add(2, id=one)
    scene.add(3, id=other)
    scene.link()
    scene.bench.execute("DELETE FROM images_image WHERE filemaker_id = %s", one)
    scene.rows = [Row("2", scene.key(), id=other)]
    report = scene.link()
    assert (report.errors, report.already, len(scene.images())) == ({}, 1, 1)


def test_images_with_numbers_of_others_do_not_fill_every_run_with_a_limit(scene: Scene) -> None:
    scene.add(2, id=str(uuid.uuid4()))
    scene.link()
    scene.s3.put_bulk("3.jpg", jpeg(3))
    scene.rows = [Row("2", scene.key(), id=str(uuid.uuid4())), Row("3", scene.key(), id=str(uuid.uuid4()))]
    report = scene.link(limit=1)
    assert (report.linked, report.errors, report.adds_up) == (1, {"recid_reused": 1}, True)


def test_a_copy_that_the_export_gives_to_another_patient_by_now_or_that_was_left_out_is_not_linked(
    scene: Scene,
) -> None:
    scene.add(2)
    scene.link()
    scene.bench.execute(  # as after the copies, and a new export
        "DELETE FROM images_image; DELETE FROM images_batch;"
        " DELETE FROM fm_pipeline.crosswalk WHERE entity LIKE 'image%%';"
        " UPDATE fm_pipeline.image_copies SET state = 'verified', image_id = NULL;"
        " UPDATE fm_pipeline.image_metadata SET outcome = NULL, patient_ref = %s",
        scene.key(1),
    )
    assert write_rows(scene.bench.settings, now=RUN_TIME).linked == []
    assert scene.images() == {}
    scene.bench.execute("UPDATE fm_pipeline.image_metadata SET outcome = 'left', patient_ref = %s", scene.key())
    assert write_rows(scene.bench.settings, now=RUN_TIME).linked == []
    scene.bench.execute("UPDATE fm_pipeline.image_metadata SET outcome = NULL")
    assert write_rows(scene.bench.settings, now=RUN_TIME).linked == [2]


def test_dates_that_contradict_what_somebody_said_stop_also_with_a_few_misprints(scene: Scene) -> None:
    for recid, day in enumerate(("18/10/2016", "19/10/2016", "05/11/2016", "10/18/2016"), start=2):
        scene.add(recid, date=day)
    with pytest.raises(ImageStop, match="day first"):
        scene.link()
    scene.rows = [Row("2", scene.key(), date="10/18/2016"), Row("3", scene.key(), date="05/11/2016")]
    with pytest.raises(ImageStop, match="month first"):
        scene.link(dates="dmy")


def test_the_order_that_the_last_export_has_proved_counts_if_the_next_one_proves_none(scene: Scene) -> None:
    scene.add(2, date="18/10/2016")
    scene.link(dates="proved")
    scene.rows.clear()
    scene.add(3, date="06/11/2016")
    assert scene.link(dates="proved").linked == 1
    assert {batch for _, batch, _ in scene.images().values()} == {
        "18 Oct 2016 (FileMaker Import)", "6 Nov 2016 (FileMaker Import)",
    }  # fmt: skip
    scene.add(4, date="10/18/2016")
    assert scene.link(dates="proved").linked == 1


def test_an_order_that_was_only_named_is_not_taken_for_the_next_export(scene: Scene) -> None:
    scene.add(2, date="05/11/2016")
    with pytest.raises(ImageStop, match="cannot be told"):
        scene.link(dates="proved")
    scene.link(dates="dmy", dry_run=True)
    with pytest.raises(ImageStop, match="cannot be told"):
        scene.link(dates="proved")


def test_a_misprint_does_not_stop_the_link_if_the_export_before_has_proved_the_order(scene: Scene) -> None:
    scene.add(2, date="10/18/2016")
    scene.add(3, date="31/12/2016")
    with pytest.raises(ImageStop, match="1 of them have a first number above 12, and 1 a second one"):
        scene.link(dates="proved")
    scene.link(dates="mdy")
    scene.add(4, date="11/18/2016")
    assert scene.link(dates="proved").linked == 1
    assert scene.images().keys() == {2, 4}


def test_dates_that_can_only_be_day_first_stop_unless_somebody_says_so(scene: Scene) -> None:
    scene.add(2, date="18/10/2016")
    scene.add(3, date="05/11/2016")
    with pytest.raises(ImageStop, match="day first"):
        scene.link()


def test_an_export_as_xml_is_linked_by_filemakers_own_record_ids(scene: Scene) -> None:
    scene.add(2)
    scene.add(3, patient=1)
    rows = [["10/18/2016", scene.key(number), "Größe <1>"] for number in (0, 1)]
    path = scene.folder / "images.xml"
    path.write_text(xml(rows, ("date", "id_Contact", "Type")), "utf-8")
    report = scene.link(export=path)
    assert (report.linked, report.adds_up) == (2, True)
    assert [patient for patient, _, _ in scene.images().values()] == [scene.patients[0][0], scene.patients[1][0]]
    assert scene.bench.execute("SELECT DISTINCT category FROM images_image") == [("Größe <1>",)]


def test_files_named_by_another_record_id_are_linked_to_nobody(scene: Scene) -> None:
    for recid in range(2, 7):
        scene.add(recid)
    text = scene.export_file.read_text("utf-8").replace("\t3.jpg\t", "\t6066.JPG\t")
    path = scene.folder / "partly.tab"
    path.write_text(text, "utf-8", newline="")
    report = scene.link(export=path)
    assert (report.linked, report.skipped, report.adds_up) == (4, {"file_name_differs": 1}, True)
    assert set(scene.images()) == {2, 4, 5, 6}
