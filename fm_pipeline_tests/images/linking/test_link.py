"""The link: from the bulk dump and FileMaker's export to the patients, once, and whatever goes wrong."""

from __future__ import annotations

import datetime as dt
import unicodedata
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from fm_pipeline.errors import LockStop
from fm_pipeline.images.linking.matching import thumbnail_key_of
from fm_pipeline.images.linking.steps import missing_objects
from fm_pipeline.storage.client import BULK_PREFIX
from fm_pipeline_tests.images.scene import Row, Scene, jpeg
from fm_pipeline_tests.support.clinics import RUN_TIME

LATER = RUN_TIME + dt.timedelta(hours=1)


def test_images_are_copied_verified_and_linked_by_patient_and_day(scene: Scene) -> None:
    for recid in (2, 3, 4):
        scene.add(recid)
    scene.add(5, date="11/05/2016")
    scene.add(6, patient=1)
    bulk = scene.s3.objects(BULK_PREFIX)
    report = scene.link()
    assert (report.total, report.batches_created, report.linked) == (5, 3, 5)
    assert report.adds_up
    images = scene.images()
    assert {recid: batch for recid, (_, batch, _) in images.items()} == {
        2: "18 Oct 2016 (FileMaker Import)",
        3: "18 Oct 2016 (FileMaker Import)",
        4: "18 Oct 2016 (FileMaker Import)",
        5: "5 Nov 2016 (FileMaker Import)",
        6: "18 Oct 2016 (FileMaker Import)",
    }
    assert {recid: patient for recid, (patient, _, _) in images.items()} == {
        recid: scene.patients[recid == 6][0] for recid in images
    }
    objects = scene.s3.objects()
    for recid, (patient, _, key) in images.items():
        assert key.startswith(f"patients/{patient}/images/")
        assert key.endswith(f"/{recid}.jpg")
        assert objects[key] == bulk[f"{BULK_PREFIX}{recid}.jpg"]
    assert scene.bench.execute("SELECT name, image_count FROM images_batch ORDER BY image_count, name") == [
        ("18 Oct 2016 (FileMaker Import)", 1),
        ("5 Nov 2016 (FileMaker Import)", 1),
        ("18 Oct 2016 (FileMaker Import)", 3),
    ]
    rows = scene.bench.execute(
        "SELECT s3_key, s3_thumbnail_key, thumbnail_size, width, height, mime_type, file_size, date_taken, category"
        " FROM images_image"
    )
    for key, thumbnail, thumbnail_size, *facts in rows:
        assert thumbnail == thumbnail_key_of(key)
        assert objects[thumbnail][0] == thumbnail_size
        assert facts[:3] == [32, 24, "image/jpeg"]
        assert facts[3] == objects[key][0]
        assert facts[5] == "Left Dorsal"
    assert missing_objects(scene.bench.settings, scene.s3.bucket(scene.bench.settings)) == []


@pytest.mark.hard_case(26, 27)
def test_a_second_run_copies_nothing_writes_nothing_and_the_bulk_dump_is_the_same(scene: Scene) -> None:
    for recid in (2, 3):
        scene.add(recid)
    bulk = scene.s3.objects(BULK_PREFIX)
    scene.link()
    objects, digests = scene.s3.objects(), scene.bench.digests()
    report = scene.link(now=LATER)
    assert (report.linked, report.already, report.batches_created) == (0, 2, 0)
    assert scene.s3.objects() == objects
    assert scene.s3.objects(BULK_PREFIX) == bulk
    assert scene.bench.digests() == digests
    assert scene.ends() == {2: ("already_linked", None), 3: ("already_linked", None)}
    audit = scene.bench.execute("SELECT actor, action, outcome FROM fm_pipeline.audit ORDER BY id")
    assert audit == [("bench", "image_link", outcome) for outcome in ("started", "done")] * 2


def test_a_dry_run_shows_it_and_changes_nothing(scene: Scene) -> None:
    scene.add(2)
    scene.add(3, date="")
    objects, digests = scene.s3.objects(), scene.bench.digests()
    report = scene.link(dry_run=True)
    assert (report.total, report.batches_created, report.linked, report.skipped) == (2, 1, 1, {"no_date": 1})
    assert report.adds_up
    assert scene.s3.objects() == objects
    assert scene.bench.digests() == digests
    assert scene.states() == {}


def test_a_limit_takes_the_first_ones_that_are_not_linked_yet(scene: Scene) -> None:
    for recid in (4, 2, 3):
        scene.add(recid)
    assert scene.link(limit=1).left == 2
    assert set(scene.images()) == {2}
    report = scene.link(limit=1)
    assert (report.linked, report.already, report.left) == (1, 1, 1)
    assert report.adds_up
    scene.link()
    assert scene.bench.execute('SELECT original_name FROM images_image ORDER BY "order"') == [
        ("2.jpg",), ("3.jpg",), ("4.jpg",),
    ]  # fmt: skip


def test_what_failed_before_does_not_take_up_every_limited_run(scene: Scene) -> None:
    for recid in (2, 3):
        scene.add(recid, body=b"<html>")
    for recid in (4, 5):
        scene.add(recid)
    assert scene.link(limit=2).linked == 0
    report = scene.link(limit=2)
    assert (report.linked, report.left) == (2, 2)
    assert report.adds_up


@pytest.mark.hard_case(27)
def test_what_does_not_match_is_listed_counted_and_importable_later(scene: Scene) -> None:
    scene.add(2)
    scene.add(3)
    scene.rows[1] = Row("3", str(uuid.uuid4()))  # of a patient who is not in Nexus
    scene.rows.append(Row("4", scene.key()))  # without a file
    scene.rows += [Row("5", ""), Row("6", scene.key(), date="31/02/16"), Row("7", scene.key(), date="")]
    scene.s3.put_bulk("99.jpg", jpeg(99))  # without a record
    scene.s3.put_bulk("IMG_0001.jpg", jpeg(98))
    report = scene.link()
    assert report.skipped == {
        "patient_unknown": 1, "no_file": 1, "no_patient": 1, "date_unreadable": 1, "no_date": 1,
    }  # fmt: skip
    assert (report.total, report.linked, report.files, report.files_without_record) == (6, 1, 4, 2)
    assert report.adds_up
    folder = scene.bench.settings.state_dir / "images"
    assert (folder / "not_linked.csv").read_text("utf-8").splitlines() == [
        "line,recid,outcome,reason",
        ",3,skipped,patient_unknown",
        ",4,skipped,no_file",
        ",5,skipped,no_patient",
        ",6,skipped,date_unreadable",
        ",7,skipped,no_date",
    ]
    assert (folder / "files_without_record.csv").read_text("utf-8").splitlines() == [
        "key",
        f"{BULK_PREFIX}99.jpg",
        f"{BULK_PREFIX}IMG_0001.jpg",
    ]
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}
    scene.rows[1] = Row("3", scene.key(1).upper())  # the patient came
    scene.s3.put_bulk("4.jpg", jpeg(4))  # the file came
    later = scene.link()
    assert (later.linked, later.already) == (2, 1)
    assert set(scene.images()) == {2, 3, 4}


@pytest.mark.hard_case(23)
def test_files_are_matched_by_record_id_whatever_their_suffix(scene: Scene) -> None:
    names = {2: "2.JPG", 3: "3.jpeg", 4: "0004.jpg", 5: "5"}
    for recid, name in names.items():
        scene.s3.put_bulk(name, jpeg(recid))
        scene.rows.append(Row(str(recid), scene.key()))
    for strange in (
        "a b.jpg",
        "1+1.jpg",
        "7%20.jpg",
        "8#.jpg",
        "9&.jpg",
        "\N{GRINNING FACE}.jpg",
        *(unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")),
    ):
        scene.s3.put_bulk(strange, jpeg(77))
    report = scene.link()
    assert (report.linked, report.files_without_record) == (4, 8)
    keys = {key.rsplit("/", 1)[1] for _, _, key in scene.images().values()}
    assert keys == {"2.jpg", "3.jpeg", "4.jpg", "5"}


def test_two_files_of_one_record_are_one_image_if_they_are_equal_and_none_if_not(scene: Scene) -> None:
    scene.add(2)
    scene.s3.put_bulk("2.JPG", jpeg(2))
    scene.add(3)
    scene.s3.put_bulk("3.png", jpeg(33))
    assert scene.link().skipped == {"several_files": 1}
    assert set(scene.images()) == {2}


@pytest.mark.hard_case(24)
def test_a_target_with_the_same_bytes_is_not_copied_and_one_with_other_bytes_stops_that_image(scene: Scene) -> None:
    for recid in (2, 3, 4):
        scene.add(recid)
    scene.link(limit=1)
    folder = scene.images()[2][2].rsplit("/", 1)[0]
    scene.s3.put(f"{folder}/3.jpg", jpeg(3))
    scene.s3.put(f"{folder}/4.jpg", b"somebody else's")
    modified = scene.s3.client.head_object(Bucket=scene.s3.name, Key=f"{folder}/3.jpg")["LastModified"]
    report = scene.link()
    assert (report.linked, report.already, report.errors) == (1, 1, {"target_differs": 1})
    assert report.copies_there == 2
    assert scene.s3.bucket().read(f"{folder}/4.jpg") == b"somebody else's"
    assert scene.s3.client.head_object(Bucket=scene.s3.name, Key=f"{folder}/3.jpg")["LastModified"] == modified
    assert scene.states() == {2: "linked", 3: "linked", 4: "failed"}
    scene.s3.delete(f"{folder}/4.jpg")
    assert scene.link().linked == 1


@pytest.mark.hard_case(28)
def test_a_file_that_is_no_picture_is_kept_out_by_reason_and_stops_no_other(scene: Scene) -> None:
    bad = {3: b"", 4: b"<html>502</html>", 5: b"%PDF-1.4", 6: jpeg(6, (200, 200))[:400], 7: b"<html>502</html>"}
    scene.add(2)
    for recid, body in bad.items():
        scene.add(recid, body=body)
    report = scene.link()
    assert report.linked == 1
    assert report.errors == {"picture_empty": 1, "picture_html": 2, "picture_pdf": 1, "picture_broken": 1}
    assert report.equal_files == 0  # two equal web pages are no two equal pictures
    assert report.adds_up
    assert set(scene.images()) == {2}
    assert len(scene.s3.objects("patients/")) == 2
    assert scene.link().errors == report.errors


def test_a_picture_that_was_too_large_for_an_earlier_limit_is_looked_at_again(scene: Scene) -> None:
    scene.add(2)
    scene.link(dry_run=True)
    with scene.bench.connection() as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fm_pipeline.image_files (etag, size, reason, inspected_at)"
            " SELECT etag, size, 'picture_too_many_pixels', now() FROM fm_pipeline.bulk_dump_objects"
        )
        connection.commit()
    assert scene.link().linked == 1
    assert scene.bench.execute("SELECT reason, width FROM fm_pipeline.image_files") == [(None, 32)]


def test_a_file_is_read_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for recid in (2, 3):
        scene.add(recid)
    bucket = scene.s3.bucket(scene.bench.settings)
    read: list[str] = []
    bucket.client.meta.events.register("before-call.s3.GetObject", lambda **_: read.append("read"))
    scene.link(bucket, limit=1)
    scene.link(bucket)
    assert len(read) == 2


@pytest.mark.hard_case(32)
def test_one_record_for_two_patients_equal_bytes_and_equal_names(scene: Scene) -> None:
    scene.add(2)
    scene.rows.append(Row("2", scene.key(1)))  # one record, two patients: neither
    scene.add(3, body=jpeg(1))
    scene.add(4, body=jpeg(1))  # the same picture twice
    scene.add(5, patient=1, body=jpeg(1))  # and with somebody else
    report = scene.link()
    assert report.skipped == {"recid_contradicts": 2}
    assert (report.total, report.linked, report.equal_files, report.equal_files_of_several) == (5, 3, 1, 1)
    lists = scene.bench.settings.state_dir / "images"
    own, other = scene.patients[0][0], scene.patients[1][0]
    assert (lists / "same_bytes.csv").read_text("utf-8") == f"group,recid,patient\n1,3,{own}\n1,4,{own}\n1,5,{other}\n"
    assert "1,,rejected,recid_contradicts\n2,,rejected,recid_contradicts\n" in (lists / "not_linked.csv").read_text(
        "utf-8"
    )
    assert report.adds_up
    assert {recid: patient for recid, (patient, _, _) in scene.images().items()} == {
        3: scene.patients[0][0], 4: scene.patients[0][0], 5: scene.patients[1][0],
    }  # fmt: skip


def test_an_image_whose_batch_somebody_gave_to_another_patient_is_an_error(scene: Scene) -> None:
    scene.add(2)
    scene.link()
    scene.bench.execute("UPDATE images_batch SET object_id = %s", scene.patients[1][0])
    scene.add(3)
    report = scene.link()
    assert report.errors == {"linked_to_another_patient": 1, "batch_of_another_patient": 1}
    assert report.adds_up
    assert scene.ends()[3] == ("error", "batch_of_another_patient")
    lists = scene.bench.settings.state_dir / "images"
    assert ",3,error,batch_of_another_patient\n" in (lists / "not_linked.csv").read_text("utf-8")


def test_an_image_that_filemaker_now_gives_to_another_patient_stays_and_is_named(scene: Scene) -> None:
    scene.add(2)
    scene.link()
    before = scene.images()
    scene.rows = [Row("2", scene.key(1))]
    assert scene.link().errors == {"linked_to_another_patient": 1}
    assert scene.images() == before


def test_an_image_that_somebody_removed_in_nexus_does_not_come_back_by_itself(scene: Scene) -> None:
    scene.add(2)
    scene.link()
    scene.bench.execute("DELETE FROM images_image")
    assert scene.link().skipped == {"removed_in_nexus": 1}
    assert scene.link(restore_removed=True).linked == 1
    assert scene.states() == {2: "linked"}


@pytest.mark.hard_case(33)
def test_batches_of_an_earlier_reimport_get_their_patient_back(scene: Scene) -> None:
    for recid in (2, 3):
        scene.add(recid)
    scene.link()
    old, new = scene.patients[0][0], str(uuid.uuid4())
    # Somebody else's reimport: the patient has another id now, and neither batch nor crosswalk know it.
    scene.bench.execute(
        f"""
        SET CONSTRAINTS ALL DEFERRED;
        DO $$ DECLARE r record; BEGIN
          FOR r IN SELECT conrelid::regclass AS t, a.attname AS c FROM pg_constraint k JOIN pg_attribute a
                   ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
                   WHERE contype = 'f' AND confrelid = 'patients'::regclass LOOP
            EXECUTE format('UPDATE %s SET %I = %L WHERE %I = %L', r.t, r.c, '{new}', r.c, '{old}');
          END LOOP; END $$;
        UPDATE patients SET id = '{new}' WHERE id = '{old}'
        """  # noqa: S608
    )
    assert {patient for patient, _, _ in scene.images().values()} == {old}
    report = scene.link()
    assert (report.linked, report.already, report.repaired) == (0, 2, 1)
    assert {patient for patient, _, _ in scene.images().values()} == {new}
    scene.add(4)
    assert scene.link().batches_created == 0  # of the same day: the same batch, though the patient has a new id
    assert scene.images()[4][0] == new


@pytest.mark.hard_case(33)
def test_a_reimport_after_the_link_leaves_images_right_and_repairs_batches(scene: Scene) -> None:
    for recid in (2, 3):
        scene.add(recid)
    scene.add(4, patient=1)
    scene.link()
    before, objects = scene.images(), scene.s3.objects()
    orphaned = scene.images()[4][0]
    scene.bench.execute("UPDATE images_batch SET object_id = gen_random_uuid() WHERE object_id = %s", orphaned)
    report = scene.bench.extract_and_stage().reimport()
    assert report.batches is not None
    assert dict(report.batches.by_evidence) == {"image_link": 1}
    assert scene.images() == before
    digests = scene.bench.digests()
    assert scene.link().already == 3
    assert scene.bench.digests() == digests
    assert scene.s3.objects() == objects


@pytest.mark.hard_case(25)
def test_a_row_is_written_only_after_its_copy_was_seen_in_a_listing(scene: Scene, lose: Callable[..., Any]) -> None:
    for recid in (2, 3):
        scene.add(recid)
    bucket = scene.s3.bucket(scene.bench.settings)
    lose(bucket, "2.jpg")  # S3 says yes and keeps nothing
    report = scene.link(bucket)
    assert report.errors == {"not_verified": 1}
    assert set(scene.images()) == {3}
    assert scene.states() == {2: "failed", 3: "linked"}
    assert scene.link().linked == 1


@pytest.fixture
def lose() -> Callable[..., None]:
    """Let copies of a name get lost behind S3's back."""

    def lose(bucket: Any, name: str) -> None:
        def answer(model: Any, params: Any, **_: Any) -> Any:
            if params["url_path"].endswith(name) and "/patients/" in params["url_path"]:
                import botocore.awsrequest  # noqa: PLC0415

                response = botocore.awsrequest.AWSResponse("", 200, {}, None)  # type: ignore[arg-type]
                return response, {"CopyObjectResult": {"ETag": '"0"'}}
            return None

        bucket.client.meta.events.register("before-call.s3.CopyObject", answer)

    return lose


def test_a_second_link_at_the_same_time_is_refused(scene: Scene) -> None:
    scene.add(2)
    with scene.bench.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('fm_pipeline.images'))")
        with pytest.raises(LockStop, match="Another link"):
            scene.link()
    assert scene.link().linked == 1


def test_a_bulk_dump_that_changes_during_the_link_is_reported(scene: Scene) -> None:
    scene.add(2)
    bucket = scene.s3.bucket(scene.bench.settings)
    bucket.client.meta.events.register("before-call.s3.CopyObject", lambda **_: scene.s3.put_bulk("77.jpg", jpeg(77)))
    assert scene.link(bucket).bulk_changed == 1
