"""Hard case 29: what S3 does to a link when it has a bad day, and what Amazon's S3 does that the sandbox's does not."""

from __future__ import annotations

import json
import re
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from fm_pipeline.errors import StorageError
from fm_pipeline.images.linking.parallel import FAILURES_IN_A_ROW, in_parallel
from fm_pipeline.storage.bucket import Bucket, open_bucket
from fm_pipeline.storage.client import BULK_PREFIX, guarded, make_client
from fm_pipeline_tests.images.pictures.samples import exif_block, jpeg_with, segment, turned
from fm_pipeline_tests.images.scene import Scene, jpeg
from fm_pipeline_tests.support.proxies.s3_proxy import Fault, Request, S3Proxy, s3_proxy
from fm_pipeline_tests.support.waiting import wait_until

SECURITY = Path(__file__).parents[3] / "SECURITY.md"


@pytest.fixture
def proxy(scene: Scene) -> Iterator[S3Proxy]:
    """The scene's S3 behind a proxy, with three images."""
    for recid in (2, 3, 4):
        scene.add(recid)
    with s3_proxy(str(scene.bench.settings.s3_endpoint_url)) as proxy:
        scene.bench = scene.bench.with_settings(s3_endpoint_url=proxy.url, s3_concurrency=2)
        yield proxy


def link(scene: Scene) -> Any:
    """Through the proxy. A request is tried twice, so that nobody waits long."""
    settings = scene.bench.settings
    return scene.link(open_bucket(settings, make_client(settings, attempts=2)))


def test_a_photograph_with_a_malformed_tag_and_a_raw_one_stop_no_other(scene: Scene) -> None:
    block = exif_block((0x13B, 5, 1, struct.pack("<LL", 300, 1)), turned(6))
    scene.add(2, body=jpeg_with(segment(0xE1, b"Exif\0\0" + block)))
    scene.add(3, body=b"II*\0\x10\0\0\0CR\2\0" + bytes(200))
    scene.add(4)
    report = scene.link()
    assert (report.linked, report.errors, report.adds_up) == (2, {"picture_raw_photo": 1}, True)
    assert scene.images().keys() == {2, 4}


@pytest.mark.parametrize("fault", ["slow_down", "error_in_200", "lost_answer"])
@pytest.mark.hard_case(29)
def test_what_passes_is_tried_again_and_nothing_is_there_twice(scene: Scene, proxy: S3Proxy, fault: Fault) -> None:
    def once(request: Request) -> Fault | None:
        return fault if request.copies and request.path.endswith("/3.jpg") and request.number == 1 else None

    proxy.fault = once
    report = link(scene)
    assert (report.linked, report.errors) == (3, {})
    assert sum(each.copies and each.path.endswith("/3.jpg") for each in proxy.seen) == 2
    assert len(scene.s3.objects("patients/")) == 6
    assert set(scene.states().values()) == {"linked"}


@pytest.mark.parametrize("fault", ["slow_down", "error_in_200", "denied"])
@pytest.mark.hard_case(29)
def test_what_does_not_pass_is_an_error_of_that_image_and_done_next_time(
    scene: Scene, proxy: S3Proxy, fault: Fault
) -> None:
    proxy.fault = lambda request: fault if request.copies and request.path.endswith("/3.jpg") else None
    report = link(scene)
    assert (report.linked, report.errors) == (2, {"copy_failed": 1})
    assert scene.ends()[3] == ("error", "copy_failed")
    assert scene.states() == {2: "linked", 3: "failed", 4: "linked"}
    proxy.fault = lambda _: None
    assert link(scene).linked == 1
    assert scene.bench.execute("SELECT image_count FROM images_batch") == [(3,)]


@pytest.mark.hard_case(29)
def test_a_copy_whose_answer_was_lost_and_whose_repeat_is_refused_counts_by_the_listing(
    scene: Scene, proxy: S3Proxy
) -> None:
    def lost(request: Request) -> Fault | None:
        if request.copies and request.path.endswith("/3.jpg"):
            return "lost_answer" if request.number == 1 else "failed_condition"  # as Amazon's S3 answers
        return None

    proxy.fault = lost
    assert (report := link(scene)).linked == 3
    assert report.errors == {}


@pytest.mark.hard_case(29)
def test_a_cut_stream_is_read_again(scene: Scene, proxy: S3Proxy) -> None:
    def cut(request: Request) -> Fault | None:
        return "cut" if request.method == "GET" and request.path.endswith("/3.jpg") and request.number == 1 else None

    proxy.fault = cut
    assert (report := link(scene)).linked == 3
    assert report.errors == {}


@pytest.mark.hard_case(29)
def test_a_stream_cut_in_the_first_bytes_is_read_again_before_its_type_is_told(scene: Scene, proxy: S3Proxy) -> None:
    scene.add(5, body=b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>")

    def cut(request: Request) -> Fault | None:
        return "cut" if request.method == "GET" and request.path.endswith("/5.jpg") and request.number == 1 else None

    proxy.fault = cut
    assert link(scene).errors == {"picture_html": 1}
    assert sum(each.method == "GET" and each.path.endswith("/5.jpg") for each in proxy.seen) == 2


def test_a_picture_is_copied_while_another_one_is_still_read(scene: Scene, proxy: S3Proxy) -> None:
    def wait_for_a_copy(request: Request) -> Fault | None:
        if request.method == "GET" and request.path.endswith("/4.jpg"):
            wait_until(lambda: any(each.copies for each in proxy.seen))
        return None

    proxy.fault = wait_for_a_copy
    assert link(scene).linked == 3


def test_files_that_are_no_pictures_do_not_hide_that_nothing_may_be_copied(scene: Scene, proxy: S3Proxy) -> None:
    for recid in range(5, 4 * FAILURES_IN_A_ROW):
        scene.add(recid, body=None if recid % 2 else b"<html>%d</html>" % recid)
    proxy.fault = lambda request: "denied" if request.copies else None
    with pytest.raises(StorageError, match="AccessDenied"):
        link(scene)


def _gives_up(caller: int) -> bool:
    """Whether a thread has ended its parallel work and waits for what is under way."""
    frame = sys._current_frames().get(caller)
    while frame and frame.f_code is not in_parallel.__code__:
        frame = frame.f_back
    return frame is not None and frame.f_locals["stop"].is_set()


@pytest.mark.hard_case(29)
def test_a_role_that_may_not_copy_ends_the_run_and_not_after_thousands_of_requests(
    scene: Scene, proxy: S3Proxy
) -> None:
    for recid in range(5, 40):
        scene.add(recid)
    denied: list[str] = []
    caller = threading.get_ident()

    def deny(request: Request) -> Fault | None:
        """All but one, which is still at work when the run gives up."""
        if not request.copies:
            return None
        if request.path.endswith("/2.jpg"):
            wait_until(lambda: _gives_up(caller))
            return None
        denied.append(request.path)
        return "denied"

    proxy.fault = deny
    with pytest.raises(StorageError, match="AccessDenied") as caught:
        link(scene)
    assert "SECURITY.md" in caught.value.remedy
    assert len(denied) >= FAILURES_IN_A_ROW
    assert sum(each.copies for each in proxy.seen) < 30
    assert scene.images() == {}
    assert scene.states()[2] == "copied"  # the ledger knows what was done
    proxy.fault = lambda _: None
    proxy.seen.clear()
    assert link(scene).linked == 38
    assert sum(each.copies for each in proxy.seen) == 37


@pytest.mark.parametrize("verb", ["GET", "PUT"])
def test_files_that_lie_in_an_archive_are_named_stop_no_other_and_are_linked_when_they_are_back(
    scene: Scene, proxy: S3Proxy, verb: str
) -> None:
    for recid in range(5, 30):
        scene.add(recid)
    proxy.fault = lambda request: (
        "archived"
        if request.method == verb
        and (request.copies or verb == "GET")
        and re.search(r"/([3-9]|2.)\.jpg$", request.path)
        else None
    )
    report = link(scene)
    assert (report.linked, report.errors) == (11, {"archived": 17})
    proxy.fault = lambda _: None
    assert link(scene).linked == 17


def test_a_clock_that_is_wrong_ends_the_link_at_once_with_what_to_do(scene: Scene, proxy: S3Proxy) -> None:
    proxy.fault = lambda request: "skewed" if request.path.endswith(".jpg") else None
    with pytest.raises(StorageError, match=r"clock of this machine is more than 15 minutes wrong.*NTP"):
        link(scene)
    assert scene.images() == {}


@pytest.mark.hard_case(29)
def test_the_link_asks_for_nothing_but_listings_contents_and_new_objects(scene: Scene, proxy: S3Proxy) -> None:
    link(scene)
    assert {each.method for each in proxy.seen} == {"GET", "PUT"}
    assert not [each for each in proxy.seen if each.method == "PUT" and BULK_PREFIX in each.path]
    assert sum(each.method == "GET" and each.path.endswith(".jpg") for each in proxy.seen) == 3  # each file once


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Bucket]]:
    """Somebody's client, and the bucket as the pipeline has it, of moto."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client: Any = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="clinic")
        client.put_bucket_versioning(Bucket="clinic", VersioningConfiguration={"Status": "Enabled"})
        client.put_object(Bucket="clinic", Key=BULK_PREFIX + "2.jpg", Body=jpeg(2), ContentType="binary/octet-stream")
        yield client, Bucket(guarded(boto3.client("s3", region_name="us-east-1"), BULK_PREFIX), "clinic")


@pytest.mark.hard_case(29)
def test_the_policy_of_the_security_page_lets_the_link_work_and_nothing_else(amazon: tuple[Any, Bucket]) -> None:
    somebody, bucket = amazon
    (text,) = re.findall(r"```json\n(\{.*?\"Statement\".*?)```", SECURITY.read_text("utf-8"), flags=re.DOTALL)
    policy = json.loads(text.replace("BUCKET", "clinic"))
    for statement in policy["Statement"]:
        statement["Principal"] = "*"
    somebody.put_bucket_policy(Bucket="clinic", Policy=json.dumps(policy))
    (found,) = bucket.list(BULK_PREFIX)
    bucket.copy(found, "patients/p/2.jpg", "image/jpeg")
    bucket.put("patients/p/2_thumb.jpg", b"small", "image/jpeg")
    for call, key in (
        (somebody.delete_object, BULK_PREFIX + "2.jpg"),
        (somebody.delete_object, "patients/p/2.jpg"),
        (somebody.put_object, BULK_PREFIX + "2.jpg"),
    ):
        with pytest.raises(ClientError, match=r"AccessDenied|Forbidden"):
            call(Bucket="clinic", Key=key)


def test_a_copy_gets_the_real_type_and_makes_no_second_version(amazon: tuple[Any, Bucket]) -> None:
    somebody, bucket = amazon
    (found,) = bucket.list(BULK_PREFIX)
    bucket.copy(found, "patients/p/2.jpg", "image/png")
    assert somebody.head_object(Bucket="clinic", Key="patients/p/2.jpg")["ContentType"] == "image/png"
    bucket.put("patients/p/x", b"1", "text/plain")
    bucket.put("patients/p/x", b"1", "text/plain")
    versions = somebody.list_object_versions(Bucket="clinic", Prefix="patients/p/")["Versions"]
    assert sorted(each["Key"] for each in versions) == ["patients/p/2.jpg", "patients/p/x"]


def test_a_source_of_several_parts_is_the_same_as_its_copy_though_their_etags_differ(
    amazon: tuple[Any, Bucket],
) -> None:
    somebody, bucket = amazon
    begun = somebody.create_multipart_upload(Bucket="clinic", Key=BULK_PREFIX + "3.jpg")["UploadId"]
    where = {"Bucket": "clinic", "Key": BULK_PREFIX + "3.jpg", "UploadId": begun}
    part = somebody.upload_part(**where, PartNumber=1, Body=jpeg(3))
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    somebody.complete_multipart_upload(**where, MultipartUpload=parts)
    source = bucket.find(BULK_PREFIX + "3.jpg")
    assert source is not None
    assert source.etag.endswith("-1")
    somebody.put_object(Bucket="clinic", Key="patients/p/3.jpg", Body=jpeg(3))
    target = bucket.find("patients/p/3.jpg")
    assert target is not None
    assert target.etag != source.etag
    assert bucket.same_bytes(source, target)
