"""Copies of linked images that somebody deleted from S3."""

from __future__ import annotations

import uuid

from fm_pipeline.images.linking.copy_ledger import read_copies
from fm_pipeline.images.linking.lost_copies import restore_copies
from fm_pipeline.images.linking.matching import thumbnail_key_of
from fm_pipeline.images.linking.steps import missing_objects
from fm_pipeline.storage.client import BULK_PREFIX
from fm_pipeline_tests.images.scene import Row, Scene, jpeg


def linked(scene: Scene) -> dict[int, str]:
    """Three images; their keys by record id."""
    for recid in (2, 3, 4):
        scene.add(recid)
    scene.link()
    return {recid: key for recid, (_, _, key) in scene.images().items()}


def test_a_deleted_copy_and_a_deleted_thumbnail_are_made_again_by_the_next_link(scene: Scene) -> None:
    keys = linked(scene)
    objects, digests, states = scene.s3.objects(), scene.bench.digests(), scene.states()
    scene.s3.delete(keys[2])
    scene.s3.delete(thumbnail_key_of(keys[3]))
    tried = scene.link(dry_run=True)
    assert (tried.made_again, tried.already, tried.adds_up) == (2, 3, True)
    assert keys[2] not in scene.s3.objects()
    report = scene.link()
    assert (report.made_again, report.already, report.linked, report.errors) == (2, 3, 0, {})
    assert "Copies that were gone from S3 and were made again: 2" in "\n".join(report.lines())
    assert scene.s3.objects() == objects
    assert (scene.bench.digests(), scene.states()) == (digests, states)
    assert missing_objects(scene.bench.settings, scene.s3.bucket(scene.bench.settings)) == []
    assert scene.link().made_again == 0


def test_a_deleted_copy_whose_source_is_gone_too_is_an_error_of_that_image(scene: Scene) -> None:
    keys = linked(scene)
    scene.s3.delete(keys[2])
    scene.s3.delete(f"{BULK_PREFIX}2.jpg")
    scene.s3.delete(keys[3])
    scene.s3.put_bulk("3.jpg", jpeg(99))  # another picture has the name now
    scene.s3.delete(keys[4])
    report = scene.link()
    assert (report.made_again, report.already, report.errors) == (1, 1, {"copy_gone": 2})
    assert report.failed == {"copy_gone": [2, 3]}
    assert report.adds_up
    assert scene.ends()[2] == scene.ends()[3] == ("error", "copy_gone")
    listed = (scene.bench.settings.state_dir / "images" / "not_linked.csv").read_text("utf-8").splitlines()
    assert listed[1:] == [",2,error,copy_gone", ",3,error,copy_gone"]
    assert keys[4] in scene.s3.objects()


def test_lost_copies_are_made_again_after_a_move_to_an_s3_server_with_other_etags(scene: Scene) -> None:
    keys = linked(scene)
    for column in ("image_files SET etag", "image_copies SET source_etag"):
        scene.bench.execute(f"UPDATE fm_pipeline.{column} = 'other-' || {column.split()[-1]}")
    for recid in (2, 3):
        scene.s3.delete(keys[recid])
    comment = b"\xff\xfe\x00\x03"
    scene.s3.put_bulk("3.jpg", jpeg(3).replace(comment + b"3", comment + b"4"))  # as long, and another picture
    tried, report = scene.link(dry_run=True), scene.link()
    for each in (tried, report):
        assert (each.made_again, each.failed, each.adds_up) == (1, {"copy_gone": [3]}, True)
    assert keys[2] in scene.s3.objects()
    assert "compared by their bytes: 2" in "\n".join(report.lines())


def test_an_etag_that_is_an_md5_shows_which_file_an_earlier_release_has_copied(scene: Scene) -> None:
    keys = linked(scene)
    scene.s3.delete(keys[2])
    scene.s3.delete(keys[3])
    bucket = scene.s3.bucket(scene.bench.settings)
    with scene.bench.connection() as connection:
        ledger = {row.recid: row for row in read_copies(connection)}
    listed = [found._replace(etag=f"{found.etag[:-1]}-1") for found in bucket.list(BULK_PREFIX)]  # as of several parts
    lost = [(ledger[2], True), (ledger[3]._replace(source_etag="0" * 32), True)]
    result = restore_copies(bucket, lost, listed, {}, workers=1, dry_run=False, on_progress=lambda *_: None)
    assert (result.made_again, result.failed, result.other_etags) == ([2], {3: "copy_gone"}, 2)


def test_an_image_that_somebody_moved_in_nexus_is_left_alone(scene: Scene) -> None:
    keys = linked(scene)
    scene.bench.execute("UPDATE images_image SET s3_key = 'elsewhere/2.jpg' WHERE original_name = '2.jpg'")
    scene.s3.delete(keys[2])
    report = scene.link()
    assert (report.made_again, report.errors) == (0, {})
    assert keys[2] not in scene.s3.objects()


def test_a_lost_copy_is_made_again_although_a_clone_has_given_its_record_id_to_another_image(scene: Scene) -> None:
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    scene.add(2, id=one)
    scene.link()
    key = scene.images()[2][2]
    scene.rows = [Row("2", scene.key(), id=other), Row("3", scene.key(), id=one)]
    scene.s3.delete(key)
    tried = scene.link(dry_run=True)
    assert (tried.made_again, tried.already, tried.errors) == (1, 1, {"recid_reused": 1})
    report = scene.link()
    assert (report.made_again, report.already, report.errors) == (1, 1, {"recid_reused": 1})
    assert key in scene.s3.objects()
    assert scene.link().made_again == 0
    scene.s3.delete(key)
    scene.s3.delete(f"{BULK_PREFIX}2.jpg")
    assert scene.link().failed == {"recid_reused": [2], "copy_gone": [3]}
