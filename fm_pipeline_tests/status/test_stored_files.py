"""Files that Nexus' rows name: which exist, which do not, and which nobody can tell of."""

from __future__ import annotations

import json
import random
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

from fm_pipeline.cli.main import main
from fm_pipeline.status.stored_files import FileCheck, check_files
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.proxies.s3_proxy import Fault, Request, s3_proxy
from fm_pipeline_tests.support.services import LazyStack

CANARY = "Quollthorpe"


@pytest.fixture
def s3(stack: LazyStack) -> BucketBench:
    return BucketBench(stack.s3)


@pytest.fixture
def other(stack: LazyStack) -> BucketBench:
    """A second bucket, as an older release of the application used it."""
    return BucketBench(stack.s3)


@pytest.fixture
def clinic(bench: MigrationBench, s3: BucketBench, other: BucketBench) -> MigrationBench:
    """Forty documents in two buckets, thirty images with thumbnails; every file is there."""
    bench.execute(
        "DELETE FROM documents_document WHERE id NOT IN (SELECT id FROM documents_document ORDER BY id LIMIT 40)"
    )
    bench.execute("DELETE FROM images_image WHERE id NOT IN (SELECT id FROM images_image ORDER BY id LIMIT 30)")
    bench.execute("UPDATE documents_document SET s3_bucket = '', file_size = 4")
    bench.execute("UPDATE images_image SET file_size = 4, thumbnail_size = NULL")
    in_other = "SELECT id FROM documents_document ORDER BY id LIMIT 15"
    bench.execute(f"UPDATE documents_document SET s3_bucket = %s WHERE id IN ({in_other})", other.name)  # noqa: S608
    for bucket, key in bench.execute(
        "SELECT s3_bucket, s3_key FROM documents_document UNION ALL SELECT '', s3_key FROM images_image"
        " UNION ALL SELECT '', s3_thumbnail_key FROM images_image"
    ):
        (other if bucket else s3).put(key, b"file")
    return bench.with_settings(**s3.settings(bench.settings).model_dump(exclude_unset=True))


def by_kind(bench: MigrationBench, sample: int | None) -> dict[str, FileCheck]:
    chance = random.Random(1)  # noqa: S311  # a sample, no secret
    return {check.kind: check for check in check_files(bench.settings, sample=sample, chance=chance)}


@pytest.mark.parametrize("sample", [None, 12])
def test_all_files_that_are_there_are_found_in_every_bucket(clinic: MigrationBench, sample: int | None) -> None:
    checks = by_kind(clinic, sample)
    assert all(check.passed for check in checks.values())
    assert {kind: check.looked_at for kind, check in checks.items()} == {
        "documents": sample or 40,
        "images": sample or 30,
        "thumbnails": sample or 30,
    }
    assert {kind: check.rows for kind, check in checks.items()} == {"documents": 40, "images": 30, "thumbnails": 30}


@pytest.mark.parametrize("sample", [None, 40])
def test_missing_files_are_reported_by_row_whether_listed_or_asked_for(
    clinic: MigrationBench, s3: BucketBench, other: BucketBench, sample: int | None
) -> None:
    gone = {}
    for kind, query in (
        ("documents", "SELECT id::text, s3_bucket, s3_key FROM documents_document ORDER BY id OFFSET 13 LIMIT 4"),
        ("images", "SELECT id::text, '', s3_key FROM images_image ORDER BY id LIMIT 2"),
        ("thumbnails", "SELECT id::text, '', s3_thumbnail_key FROM images_image ORDER BY id LIMIT 1"),
    ):
        rows = clinic.execute(query)
        gone[kind] = [row_id for row_id, _, _ in rows]
        for _, bucket, key in rows:
            (other if bucket else s3).client.delete_object(Bucket=bucket or s3.name, Key=key)
    checks = by_kind(clinic, sample)
    assert {kind: check.missing for kind, check in checks.items()} == gone
    assert not any(check.passed for check in checks.values())


def test_a_key_in_other_letters_or_a_folder_of_that_name_is_not_the_file(
    clinic: MigrationBench, s3: BucketBench
) -> None:
    upper, folder = clinic.execute("SELECT id::text FROM images_image ORDER BY id LIMIT 2")
    s3.put("patients/a/IMG.JPG", b"1")
    s3.put("patients/a/7.jpg.d/part", b"1")
    clinic.execute("UPDATE images_image SET s3_key = 'patients/a/IMG.jpg' WHERE id = %s", *upper)
    clinic.execute("UPDATE images_image SET s3_key = 'patients/a/7.jpg' WHERE id = %s", *folder)
    for sample in (None, 100):
        assert by_kind(clinic, sample)["images"].missing == [*upper, *folder]


def test_what_cannot_be_looked_at_is_not_called_missing(clinic: MigrationBench) -> None:
    clinic.execute(
        "UPDATE documents_document SET s3_bucket = 'gone' WHERE id IN (SELECT id FROM documents_document LIMIT 3)"
    )
    for sample in (None, 100):
        documents = by_kind(clinic, sample)["documents"]
        assert (documents.missing, documents.looked_at) == ([], 37)
        assert documents.not_looked_at == {"NoSuchBucket": 3}
        assert not documents.passed


def test_a_row_without_a_key_is_reported_and_an_image_without_a_thumbnail_is_not(clinic: MigrationBench) -> None:
    image, document = (
        clinic.execute(f"SELECT id::text FROM {table} ORDER BY id LIMIT 1")[0][0]  # noqa: S608
        for table in ("images_image", "documents_document")
    )
    clinic.execute("UPDATE images_image SET s3_thumbnail_key = '' WHERE id = %s", image)
    clinic.execute("UPDATE documents_document SET s3_key = '' WHERE id = %s", document)
    checks = by_kind(clinic, None)
    assert checks["documents"].without_key == [document]
    assert checks["thumbnails"].passed
    assert checks["thumbnails"].rows == 29


@pytest.mark.parametrize("sample", [None, 40])
def test_a_file_that_is_cut_or_empty_is_reported_by_row(
    clinic: MigrationBench, s3: BucketBench, sample: int | None
) -> None:
    clinic.execute("DELETE FROM images_image WHERE id NOT IN (SELECT id FROM images_image ORDER BY id LIMIT 10)")
    (cut, cut_key), (empty, empty_key) = clinic.execute(
        "SELECT id::text, s3_key FROM images_image ORDER BY id OFFSET 3 LIMIT 2"
    )
    s3.put(cut_key, b"fi")
    s3.put(empty_key, b"")
    clinic.execute("UPDATE images_image SET file_size = 0 WHERE id = %s", empty)
    images = by_kind(clinic, sample)["images"]
    assert (images.missing, list(images.differing), images.opened) == ([], sorted([cut, empty]), 10)
    assert not images.passed
    assert by_kind(clinic, sample)["thumbnails"].passed, "its row names no size"


def test_not_more_than_some_files_are_opened_and_of_a_long_one_only_the_beginning(
    clinic: MigrationBench, s3: BucketBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fm_pipeline.status.stored_files.OPENED_BYTES", 3)
    checks = by_kind(clinic, None)
    assert {kind: check.opened for kind, check in checks.items()} == dict.fromkeys(checks, 25)
    assert all(check.passed for check in checks.values())


def test_files_that_cannot_be_opened_are_faults_by_row_and_a_stream_that_is_cut_once_is_none(
    clinic: MigrationBench,
) -> None:
    clinic.execute("DELETE FROM images_image WHERE id NOT IN (SELECT id FROM images_image ORDER BY id LIMIT 10)")
    rows = clinic.execute("SELECT id::text, s3_key FROM images_image ORDER BY id")
    faults: dict[str, Fault] = {rows[0][1]: "archived", rows[1][1]: "denied", rows[2][1]: "cut"}
    once = rows[3][1]

    def fault(request: Request) -> Fault | None:
        key = unquote(request.path).split("/", 2)[-1]
        return "cut" if key == once and request.number == 1 else faults.get(key)

    with s3_proxy(str(clinic.settings.s3_endpoint_url)) as proxy:
        proxy.fault = fault
        (images,) = check_files(clinic.with_settings(s3_endpoint_url=proxy.url).settings, sample=40, kinds=["images"])
    assert images.unreadable.keys() == {rows[0][0], rows[1][0], rows[2][0]}
    assert images.unreadable[rows[0][0]] == "InvalidObjectState"
    assert images.unreadable[rows[1][0]] == "AccessDenied"
    assert (images.opened, images.missing, images.passed) == (7, [], False)


def test_an_account_that_may_only_list_is_told_and_its_files_are_no_faults(clinic: MigrationBench) -> None:
    with s3_proxy(str(clinic.settings.s3_endpoint_url)) as proxy:
        proxy.fault = lambda request: "denied" if request.path.count("/") > 1 else None
        (images,) = check_files(clinic.with_settings(s3_endpoint_url=proxy.url).settings, sample=4, kinds=["images"])
    assert (images.passed, images.not_opened, images.unreadable, images.opened) == (True, "AccessDenied", {}, 0)


def test_a_listing_tells_how_far_it_is_also_when_all_files_lie_in_one_folder(
    clinic: MigrationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fm_pipeline.status.stored_files.KEYS_A_REPORT", 5)
    told: list[tuple[str, int, int]] = []
    check_files(clinic.settings, sample=None, kinds=["images"], on_progress=lambda *words: told.append(words))
    folders = {key.partition("/")[0] for (key,) in clinic.execute("SELECT s3_key FROM images_image")}
    assert len(folders) == 1
    assert told[0] == ("files", 0, 30)
    assert told[-1] == ("files", 30, 30)
    assert len(told) >= 2 + 30 // 5
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_a_sample_is_drawn_while_the_rows_come_and_every_file_can_be_in_it(
    clinic: MigrationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fm_pipeline.status.stored_files.ROWS_A_FETCH", 7)
    clinic.execute("UPDATE images_image SET s3_key = 'gone/' || id")
    everything = {row_id for (row_id,) in clinic.execute("SELECT id::text FROM images_image")}
    drawn: set[str] = set()
    for seed in range(60):
        chance = random.Random(seed)  # noqa: S311  # a sample, no secret
        (images,) = check_files(clinic.settings, sample=6, kinds=["images"], chance=chance)
        assert (images.rows, images.looked_at, len(set(images.missing))) == (30, 6, 6)
        assert list(images.missing) == sorted(images.missing)
        drawn |= set(images.missing)
    assert drawn == everything


def environment(monkeypatch: pytest.MonkeyPatch, clinic: MigrationBench) -> None:
    for name, value in clinic.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "160")


def test_the_command_looks_at_all_and_says_what_is_missing(
    clinic: MigrationBench, s3: BucketBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, clinic)
    whole = CliRunner().invoke(main, ["files", "check", "--all"])
    assert whole.exit_code == 0, whole.output
    ((row_id, key),) = clinic.execute("SELECT id::text, s3_key FROM images_image ORDER BY id LIMIT 1")
    s3.delete(key)
    clinic.execute("UPDATE documents_document SET s3_bucket = 'gone', original_name = %s", CANARY)
    result = CliRunner().invoke(main, ["files", "check", "--all"])
    assert result.exit_code == 1
    assert f"Files of these images do not exist: {row_id}" in result.output
    assert "40 documents could not be looked at" in result.output
    as_json = CliRunner().invoke(main, ["files", "check", "--sample", "100", "--json"])
    assert as_json.exit_code == 1
    found = {check["kind"]: check for check in json.loads(as_json.stdout)}
    assert found["images"]["missing"] == [row_id]
    assert CANARY not in result.output + as_json.output


def test_all_and_a_sample_exclude_each_other() -> None:
    assert CliRunner().invoke(main, ["files", "check", "--all", "--sample", "3"]).exit_code == 2


@pytest.fixture
def without_s3(clinic: MigrationBench, monkeypatch: pytest.MonkeyPatch) -> MigrationBench:
    """S3 is down; nobody waits long for it."""
    monkeypatch.setattr("fm_pipeline.storage.client.ATTEMPTS", 1)
    return clinic.with_settings(s3_endpoint_url="http://127.0.0.1:1")


@pytest.mark.parametrize("words", [("--all",), ("--sample", "5")])
def test_with_s3_down_the_command_advises_about_its_address(
    without_s3: MigrationBench, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    environment(monkeypatch, without_s3)
    result = CliRunner().invoke(main, ["files", "check", *words])
    assert result.exit_code == 1
    assert "images could not be looked at (EndpointConnectionError)." in result.output
    assert "Looked at 0 files" in result.output
    assert result.output.count("Check S3_ENDPOINT_URL") == 1
    assert "policy" not in result.output


def test_a_bucket_that_does_not_exist_is_told_as_such(clinic: MigrationBench, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, clinic.with_settings(s3_bucket="of-another-clinic"))
    result = CliRunner().invoke(main, ["files", "check", "--sample", "3"])
    assert result.exit_code == 1
    assert "3 images could not be looked at (NoSuchBucket)." in result.output
    assert "Check S3_BUCKET" in result.output
    assert "S3_ENDPOINT_URL" not in result.output
