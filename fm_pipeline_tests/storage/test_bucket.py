"""The bucket: complete listings, safe writing, and what is refused before anything is sent."""

from __future__ import annotations

import io
import threading
import tracemalloc
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from moto import mock_aws

from fm_pipeline.defs.resources import PatientFiles
from fm_pipeline.errors import SettingsError, StorageError
from fm_pipeline.storage.bucket import Bucket, ObjectExists, open_bucket
from fm_pipeline.storage.client import BULK_PREFIX, guarded, is_writable, make_client
from fm_pipeline_tests.support.buckets import BucketBench, bare_settings

STRANGE = ("a b.jpg", "a+b.jpg", "a%20b.jpg", "a%2Bb.jpg", "a#b.jpg", "a&b.jpg", "2.JPG", "\N{GRINNING FACE}.jpg")
NFC, NFD = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))


@pytest.mark.hard_case(23)
def test_a_listing_over_pages_is_complete(s3: BucketBench) -> None:
    present = 0
    for count in (1000, 1001, 2000):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: s3.put_bulk(f"{number}.jpg", b""), range(present, count)))
        present = count
        keys = [found.key for found in s3.bucket().list(BULK_PREFIX)]
        assert len(keys) == count
        assert set(keys) == {f"{BULK_PREFIX}{number}.jpg" for number in range(count)}


@pytest.mark.hard_case(23)
def test_keys_with_strange_characters_are_listed_read_and_copied(s3: BucketBench) -> None:
    bucket = s3.bucket()
    for name in (*STRANGE, NFC, NFD):
        s3.put_bulk(name, name.encode())
    listed = {found.key.removeprefix(BULK_PREFIX): found for found in bucket.list(BULK_PREFIX)}
    assert set(listed) == {*STRANGE, NFC, NFD}
    for name, found in listed.items():
        assert bucket.read(found.key) == name.encode()
        bucket.copy(found, f"patients/p/{name}")
    assert {found.key.removeprefix("patients/p/") for found in bucket.list("patients/")} == set(listed)
    copies = {found.key: found.etag for found in bucket.list("patients/")}
    assert copies == {f"patients/p/{name}": found.etag for name, found in listed.items()}


def test_a_request_names_the_program(s3: BucketBench) -> None:
    bucket, agents = s3.bucket(), list[bytes]()

    def note(request: Any, **_: object) -> None:
        agents.append(request.headers["User-Agent"])

    bucket.client.meta.events.register("before-send.s3", note)
    bucket.exists("patients/p/1.jpg")
    assert [agent.split()[0] for agent in agents] == [b"fm_pipeline"]


def test_a_range_of_an_object_and_its_digest_can_be_read(s3: BucketBench) -> None:
    s3.put_bulk("2.jpg", b"0123456789")
    bucket = s3.bucket()
    assert bucket.read(BULK_PREFIX + "2.jpg", 2, 4) == b"234"
    assert bucket.read(BULK_PREFIX + "2.jpg", 7) == b"789"
    assert bucket.digest(BULK_PREFIX + "2.jpg").startswith("84d89877f0d4041e")


@pytest.mark.hard_case(26)
def test_the_client_refuses_to_write_in_the_bulk_dump_whatever_the_settings_say(s3: BucketBench) -> None:
    s3.put_bulk("2.jpg", b"original")
    client = make_client(s3.settings(bare_settings(s3_bulk_prefix="somewhere/else/")))
    calls: dict[str, dict[str, Any]] = {
        "put_object": {"Key": BULK_PREFIX + "2.jpg", "Body": b""},
        "copy_object": {"Key": BULK_PREFIX + "3.jpg", "CopySource": {"Bucket": s3.name, "Key": BULK_PREFIX + "2.jpg"}},
        "delete_object": {"Key": BULK_PREFIX + "2.jpg"},
        "delete_objects": {"Delete": {"Objects": [{"Key": BULK_PREFIX + "2.jpg"}]}},
        "put_object_tagging": {"Key": BULK_PREFIX + "2.jpg", "Tagging": {"TagSet": []}},
        "create_multipart_upload": {"Key": "patients/p/2.jpg"},
        "delete_bucket": {},
    }
    for name, arguments in calls.items():
        with pytest.raises(StorageError, match="never writes"):
            getattr(client, name)(Bucket=s3.name, **arguments)
    path = "patients/../" + BULK_PREFIX + "2.jpg"  # some servers take keys for paths
    with pytest.raises(StorageError, match="never writes"):
        client.put_object(Bucket=s3.name, Key=path, Body=b"")
    assert list(s3.objects()) == [BULK_PREFIX + "2.jpg"]
    assert s3.bucket().read(BULK_PREFIX + "2.jpg") == b"original"


def test_only_plain_keys_below_patients_are_written() -> None:
    assert is_writable("patients/a/images/b/2.jpg")
    for key in (
        "patients",
        "patients/",
        "/patients/a",
        "Patients/a",
        "patients//a",
        "patients/./a",
        "patients/a/",
        "x",
    ):
        assert not is_writable(key)


def test_the_rest_of_an_object_is_read_only_if_its_first_bytes_are_wanted(s3: BucketBench) -> None:
    s3.put_bulk("2.jpg", b"0123456789")
    bucket = s3.bucket()
    found = next(bucket.list(BULK_PREFIX))
    assert bucket.read_listed(found, 4, lambda head: head == b"0123") == b"0123456789"
    assert bucket.read_listed(found, 4, lambda head: head != b"0123") == b"0123"
    assert bucket.read_listed(found, 100, lambda _: False) == b"0123456789"
    s3.put_bulk("2.jpg", b"012345678")
    with pytest.raises(StorageError, match="changed after it was listed"):
        bucket.read_listed(found, 4, lambda _: True)


@pytest.mark.parametrize("prefix", ["/", "patients/", "patients/a/images", "/patients/"])
def test_a_bulk_prefix_that_is_everything_or_the_patients_folder_is_no_setting(prefix: str) -> None:
    with pytest.raises(SettingsError, match="folder of its own"):
        bare_settings(s3_bulk_prefix=prefix)


def test_bytes_and_files_are_put_with_their_length_and_sum(s3: BucketBench) -> None:
    bucket = s3.bucket()
    assert bucket.put("patients/a/1.jpg", b"one", "image/jpeg") == "f97c5d29941bfb1b2fdab0874906ab82"
    assert bucket.put("patients/a/2.jpg", io.BytesIO(b"one"), "image/jpeg") == "f97c5d29941bfb1b2fdab0874906ab82"
    found = bucket.find("patients/a/1.jpg")
    assert found is not None
    assert (found.size, found.etag) == (3, "f97c5d29941bfb1b2fdab0874906ab82")
    assert bucket.find("patients/a/1") is None
    with pytest.raises(SettingsError, match="S3_BUCKET"):
        PatientFiles(settings=bare_settings()).bucket()


def test_of_aws_an_object_that_is_there_is_never_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = guarded(boto3.client("s3", region_name="us-east-1"), BULK_PREFIX)
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="clinic")
        bucket = Bucket(client, "clinic")
        etag = bucket.put("patients/a/1.jpg", b"one", "image/jpeg")
        assert bucket.put("patients/a/1.jpg", b"one", "image/jpeg") == etag
        with pytest.raises(ObjectExists, match="other bytes"):
            bucket.put("patients/a/1.jpg", b"two", "image/jpeg")
        assert bucket.read("patients/a/1.jpg") == b"one"
        with pytest.raises(StorageError, match="NoSuchKey") as caught:
            bucket.read("patients/somebody/9.jpg")
        assert "somebody" not in str(caught.value)


def test_an_object_whose_etag_is_not_an_md5_is_compared_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with KMS, or of several parts; for example our own first try, whose answer was lost."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        somebody = boto3.client("s3", region_name="us-east-1")
        somebody.create_bucket(Bucket="clinic")
        where = {"Bucket": "clinic", "Key": "patients/a/1.jpg"}
        begun = somebody.create_multipart_upload(**where)["UploadId"]  # type: ignore[arg-type]
        part = somebody.upload_part(**where, UploadId=begun, PartNumber=1, Body=b"one")  # type: ignore[arg-type]
        parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
        somebody.complete_multipart_upload(**where, UploadId=begun, MultipartUpload=parts)  # type: ignore[arg-type]
        bucket = Bucket(guarded(boto3.client("s3", region_name="us-east-1"), BULK_PREFIX), "clinic")
        assert bucket.put("patients/a/1.jpg", b"one", "image/jpeg").endswith("-1")
        assert bucket.put("patients/a/1.jpg", io.BytesIO(b"one"), "image/jpeg").endswith("-1")
        for other in (b"two", io.BytesIO(b"two")):
            with pytest.raises(ObjectExists, match="other bytes"):
                bucket.put("patients/a/1.jpg", other, "image/jpeg")


class Listing(BaseHTTPRequestHandler):
    """A server that lists as it likes: the pages of `pages`, whatever is asked."""

    pages: list[list[str]]
    etag = "<ETag>&quot;e&quot;</ETag>"

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        number = int(query.get("continuation-token", ["0"])[0])
        most = int(query.get("max-keys", ["1000"])[0])
        keys, more = self.pages[number][:most], number + 1 < len(self.pages) or most < len(self.pages[number])
        items = "".join(
            f"<Contents><Key>{key}</Key><Size>1</Size>{self.etag}"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key in keys
        )
        token = f"<NextContinuationToken>{number + 1}</NextContinuationToken>" if more else ""
        body = f"<ListBucketResult>{items}<IsTruncated>{str(more).lower()}</IsTruncated>{token}</ListBucketResult>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def listing() -> Iterator[tuple[type[Listing], Bucket]]:
    handler = type("OneListing", (Listing,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        settings = bare_settings(
            s3_endpoint_url=f"http://127.0.0.1:{server.server_port}",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            s3_bucket="clinic",
        )
        yield handler, open_bucket(settings)
        server.shutdown()
        thread.join()


@pytest.mark.hard_case(23)
def test_a_listing_in_any_order_is_accepted_and_one_with_repeated_keys_or_without_etags_is_refused(
    listing: tuple[type[Listing], Bucket],
) -> None:
    server, bucket = listing
    server.pages = [["p/2.jpg.bak", "p/9.jpg"], ["p/2.jpg", "p/10.jpg"]]
    assert [found.key for found in bucket.list("p/")] == ["p/2.jpg.bak", "p/9.jpg", "p/2.jpg", "p/10.jpg"]
    assert bucket.exists("p/2.jpg")
    assert not bucket.exists("p/3.jpg")
    server.pages = [["p/2.jpg", "p/9.jpg"], ["p/3.jpg", "p/2.jpg"]]
    with pytest.raises(StorageError, match="same key of a listing twice"):
        list(bucket.list("p/"))
    server.pages, server.etag = [["p/2.jpg"]], ""
    with pytest.raises(StorageError, match="without the ETags"):
        list(bucket.list("p/"))


def test_a_listing_in_another_order_may_lose_objects_while_it_is_read(listing: tuple[type[Listing], Bucket]) -> None:
    server, bucket = listing
    server.pages = [["p/4.jpg", "p/5.jpg", "p/6.jpg"], ["p/1.jpg", "p/2.jpg", "p/3.jpg"]]
    found = bucket.list("p/")
    assert [next(found).key for _ in range(3)] == ["p/4.jpg", "p/5.jpg", "p/6.jpg"]
    server.pages = [["p/6.jpg"], ["p/1.jpg", "p/2.jpg", "p/3.jpg"]]
    assert [each.key for each in found] == ["p/1.jpg", "p/2.jpg", "p/3.jpg"]


def test_a_long_listing_is_not_kept_in_memory(listing: tuple[type[Listing], Bucket]) -> None:
    server, bucket = listing
    server.pages = [[f"patients/{page}/{number:060}.jpg" for number in range(500)] for page in range(8)]
    found = bucket.list("patients/")
    tracemalloc.start()
    try:
        held = []
        for _ in range(4):
            assert len(list(islice(found, 1_000))) == 1_000
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[3] - held[0] < 100_000  # the keys of three thousand objects have four times as many bytes
