"""What images and DICOM files need, against real systems: each thing that is wrong is a line, and none of it stops."""

from __future__ import annotations

import datetime as dt
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from moto import mock_aws
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from fm_pipeline.cli.main import main
from fm_pipeline.dicom.configuration.configuration import configure
from fm_pipeline.entities.rules import load_rules
from fm_pipeline.preflight.dicom import check_dicom
from fm_pipeline.preflight.finding import Finding, FindingBuilder, stops
from fm_pipeline.preflight.images import check_bucket, check_image_tables
from fm_pipeline.preflight.preflight import preflight
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, ServerAccount
from fm_pipeline.storage.bucket import Bucket
from fm_pipeline.storage.client import BULK_PREFIX, guarded
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import DATABASE, PASSWORD, RUN_TIME, USER, MigrationBench
from fm_pipeline_tests.support.orthanc import need_orthanc
from fm_pipeline_tests.support.proxies.s3_proxy import s3_proxy
from fm_pipeline_tests.support.scripted_http import SYSTEM, like_orthanc, scripted
from fm_pipeline_tests.support.services import LazyStack

LAYOUT, TABLE = "API_Images", "Images"


@pytest.fixture
def images(bench: MigrationBench, stack: LazyStack) -> MigrationBench:
    """The bench with a bucket that has a bulk dump."""
    s3 = BucketBench(stack.s3)
    s3.put_bulk("2.jpg", b"a picture")
    given = s3.given | {"aws_secret_access_key": SecretStr(s3.given["aws_secret_access_key"])}
    return bench.with_settings(**given)


def looked_at(bench: MigrationBench, **settings: object) -> list[Finding]:
    findings = preflight(bench.with_settings(**settings).settings, files=True)
    assert stops(findings) == []
    return [finding for finding in findings if finding.area in {"images", "DICOM"}]


def found(bench: MigrationBench, **settings: object) -> dict[str, str]:
    """What is not well, by rule. That the S3 server of the tests keeps no versions breaks no rule."""
    broken = [finding for finding in looked_at(bench, **settings) if finding.level != "good" and finding.rule]
    assert all(finding.remedy for finding in broken)
    assert len({finding.rule for finding in broken}) == len(broken)
    return {finding.rule: finding.found for finding in broken}


def add_column(bench: MigrationBench) -> None:
    """A later release wants something of each image."""
    bench.execute("ALTER TABLE images_image ADD consent_form uuid NOT NULL DEFAULT gen_random_uuid()")
    bench.execute("ALTER TABLE images_image ALTER consent_form DROP DEFAULT")


def test_nothing_is_looked_at_that_is_not_set_and_a_reimport_looks_at_none_of_it(images: MigrationBench) -> None:
    add_column(images)
    assert {finding.area for finding in preflight(images.settings)} == {"FileMaker", "Nexus", "source", "services"}
    assert looked_at(images, s3_bucket=None) == []
    areas = [finding.area for finding in preflight(images.settings, files=True)]
    assert list(dict.fromkeys(areas)) == ["FileMaker", "Nexus", "source", "services", "images"]


def test_no_rule_of_files_can_be_made_a_stop() -> None:
    of_files = [rule for rule in load_rules().by_id.values() if rule.id.startswith(("image_", "dicom_", "orthanc_"))]
    assert len(of_files) == 16
    assert {rule.allowed for rule in of_files} == {("flag",)}


# -- Images


def test_a_clinic_whose_images_are_in_order_has_a_line_for_each_thing_and_nothing_is_written(
    images: MigrationBench,
) -> None:
    before = images.digests()
    with s3_proxy(str(images.settings.s3_endpoint_url)) as proxy:
        lines = {finding.subject: finding for finding in looked_at(images, s3_endpoint_url=proxy.url)}
        assert {request.method for request in proxy.seen} == {"GET"}
    assert list(lines) == ["tables", "bulk dump", "lifecycle", "versioning", "containers"]
    assert [subject for subject, finding in lines.items() if finding.level != "good"] == ["versioning"]
    assert images.execute("SELECT to_regnamespace('fm_pipeline')") == [(None,)]
    assert images.digests() == before


def test_a_role_that_may_write_no_images_is_told_the_grants(images: MigrationBench) -> None:
    (database,) = images.execute("SELECT current_database()")[0]
    images.execute(
        "DROP ROLE IF EXISTS image_role; CREATE ROLE image_role LOGIN PASSWORD 'sandbox';"
        f' GRANT CREATE, TEMPORARY ON DATABASE "{database}" TO image_role;'
        " GRANT SELECT, UPDATE, INSERT, DELETE ON ALL TABLES IN SCHEMA public TO image_role"
    )
    url = make_url(images.database_url).set(username="image_role", password="sandbox")
    role = images.with_settings(nexus_database_url=SecretStr(url.render_as_string(hide_password=False)))
    try:
        assert found(role) == {}
        images.execute("REVOKE INSERT, UPDATE ON images_image FROM image_role")
        (finding,) = [each for each in looked_at(role) if each.rule]
        assert (finding.rule, finding.subject) == ("image_grant_missing", "table images_image")
        assert finding.remedy.startswith("As the owner of the table: GRANT INSERT, UPDATE ON images_image TO ")
    finally:
        images.execute("DROP OWNED BY image_role; DROP ROLE image_role")


def test_a_column_of_images_that_must_be_given_and_that_nobody_fills_is_named(images: MigrationBench) -> None:
    add_column(images)
    assert "consent_form" in found(images)["image_structure_unknown"]


def test_a_bulk_dump_that_is_not_there_or_may_not_be_read_is_told(images: MigrationBench) -> None:
    assert found(images, s3_bulk_prefix="elsewhere/") == {"image_dump_empty": "nothing lies below S3_BULK_PREFIX"}
    with s3_proxy(str(images.settings.s3_endpoint_url)) as proxy:
        proxy.fault = lambda request: "denied" if request.path.endswith(".jpg") else None
        told = found(images, s3_endpoint_url=proxy.url)
        assert told == {"image_dump_unreadable": "S3 refused to read an object (AccessDenied)."}
        proxy.fault = lambda request: "denied" if request.query in {"lifecycle", "versioning"} else None
        lines = {finding.subject: finding.found for finding in looked_at(images, s3_endpoint_url=proxy.url)}
    assert lines["lifecycle"] == "not known (AccessDenied): the role lacks s3:GetLifecycleConfiguration"
    assert lines["versioning"] == "not known (AccessDenied)"


def test_a_bucket_that_does_not_answer_is_told_once(images: MigrationBench) -> None:
    findings = preflight(images.with_settings(s3_endpoint_url="http://127.0.0.1:1").settings, files=True)
    assert [finding.rule for finding in findings if finding.level != "good"] == ["s3_unreachable"]
    assert [each.subject for each in findings if each.area == "images"] == ["tables", "containers"]


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Bucket]]:
    """Somebody's client, and the bucket as the pipeline has it, of moto."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client: Any = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="clinic")
        client.put_object(Bucket="clinic", Key=BULK_PREFIX + "2.jpg", Body=b"a picture")
        yield client, Bucket(guarded(boto3.client("s3", region_name="us-east-1"), BULK_PREFIX), "clinic")


def of_the_bucket(bucket: Bucket) -> list[Finding]:
    return list(check_bucket(bucket, FindingBuilder(load_rules(), "images")))


EXPIRES: dict[str, Any] = {"Expiration": {"Days": 30}}


@pytest.mark.parametrize(
    ("rule", "below"),
    [
        ({"Filter": {"Prefix": ""}} | EXPIRES, [BULK_PREFIX, "patients/"]),
        ({"Filter": {}} | EXPIRES, [BULK_PREFIX, "patients/"]),
        ({"Prefix": "filemaker-import/"} | EXPIRES, [BULK_PREFIX]),
        ({"Filter": {"Prefix": BULK_PREFIX + "2"}} | EXPIRES, [BULK_PREFIX]),
        ({"Filter": {"Tag": {"Key": "a", "Value": "b"}}} | EXPIRES, [BULK_PREFIX, "patients/"]),
        (
            {"Filter": {"And": {"Prefix": "patients/", "Tags": [{"Key": "a", "Value": "b"}]}}} | EXPIRES,
            ["patients/"],
        ),
        ({"Filter": {"Prefix": "logs/"}} | EXPIRES, []),
        ({"Filter": {"Prefix": ""}, "Status": "Disabled"} | EXPIRES, []),
        ({"Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 30}}, []),
        ({"Filter": {"Prefix": ""}, "Expiration": {"ExpiredObjectDeleteMarker": True}}, []),
    ],
)
def test_a_lifecycle_rule_that_would_delete_images_is_named(
    amazon: tuple[Any, Bucket], rule: dict[str, Any], below: list[str]
) -> None:
    somebody, bucket = amazon
    somebody.put_bucket_lifecycle_configuration(
        Bucket="clinic", LifecycleConfiguration={"Rules": [{"ID": "tidy", "Status": "Enabled"} | rule]}
    )
    broken = [finding for finding in of_the_bucket(bucket) if finding.rule]
    assert [(finding.rule, finding.level) for finding in broken] == [("image_files_expire", "warning")] * len(below)
    assert [finding.found for finding in broken] == [
        f"the rule tidy deletes files below {prefix} after 30 days" for prefix in below
    ]


def test_a_lifecycle_rule_may_name_a_day_and_a_bucket_may_have_none(amazon: tuple[Any, Bucket]) -> None:
    somebody, bucket = amazon
    assert not any(finding.rule for finding in of_the_bucket(bucket))
    day = dt.datetime(2031, 2, 3, tzinfo=dt.UTC)
    somebody.put_bucket_lifecycle_configuration(
        Bucket="clinic",
        LifecycleConfiguration={"Rules": [{"Status": "Enabled", "Filter": {}, "Expiration": {"Date": day}}]},
    )
    assert [finding.found.endswith("on 2031-02-03") for finding in of_the_bucket(bucket) if finding.rule] == [True] * 2


def test_a_bucket_that_keeps_no_versions_is_a_warning(amazon: tuple[Any, Bucket]) -> None:
    somebody, bucket = amazon
    said = []
    for state in ("", "Enabled", "Suspended"):
        if state:
            somebody.put_bucket_versioning(Bucket="clinic", VersioningConfiguration={"Status": state})
        found = [finding for finding in of_the_bucket(bucket) if finding.subject == "versioning"]
        said += [(finding.found.split(":")[0], finding.level) for finding in found]
    assert said == [("off", "warning"), ("on", "good"), ("suspended", "warning")]


def test_the_mark_and_the_containers_are_looked_for_on_the_layout(images: MigrationBench) -> None:
    fields = list(images.store.table(DATABASE, TABLE).fields)
    containers = [name for name in fields if name.startswith("image_")]
    cases = {
        "no field NexusExportDate": [name for name in fields if name != "NexusExportDate"],
        "none of the containers": [name for name in fields if name not in containers],
    }
    for words, on_layout in cases.items():
        images.store.create_layout(DATABASE, LAYOUT, TABLE, on_layout)
        assert words in found(images)["image_layout_unfit"]
    few = [name for name in fields if name not in containers[1:]]
    images.store.create_layout(DATABASE, LAYOUT, TABLE, few)
    (line,) = [finding for finding in looked_at(images) if finding.subject == "containers"]
    assert (line.level, "1 of 5 containers (without " in line.found) == ("good", True)
    neither = [name for name in fields if name not in containers and name != "NexusExportDate"]
    images.store.create_layout(DATABASE, LAYOUT, TABLE, neither)
    assert found(images) == {}, "a clinic whose images come from the bulk dump"


def test_a_mark_that_can_hold_no_timestamp_is_told(images: MigrationBench) -> None:
    containers = [FieldDefinition("image_Full", "container"), FieldDefinition("NexusExportDate", "number")]
    images.store.create_table(DATABASE, "Pictures", [FieldDefinition("id"), FieldDefinition("patient_id"), *containers])
    images.store.create_layout(DATABASE, LAYOUT, "Pictures", ["id", "patient_id", "image_Full", "NexusExportDate"])
    findings = preflight(images.settings, files=True)
    assert "cannot hold a timestamp" in next(each.found for each in findings if each.rule == "image_layout_unfit")


def test_pictures_in_repetitions_that_the_layout_does_not_show_are_told(images: MigrationBench) -> None:
    names = ["id", "patient_id", "image_Full", "NexusExportDate"]
    fields = [FieldDefinition("image_Full", "container", 4), FieldDefinition("NexusExportDate", "timestamp")]
    images.store.create_table(DATABASE, "Sheets", [FieldDefinition("id"), FieldDefinition("patient_id"), *fields])
    images.store.create_layout(DATABASE, LAYOUT, "Sheets", names, repetitions={"image_Full": 1})
    findings = preflight(images.settings, files=True)
    assert [each.found for each in findings if each.rule == "image_layout_unfit"] == [
        "the layout API_Images shows 1 of 4 of image_Full"
    ]


def test_a_mark_that_the_account_may_not_see_is_told_because_all_would_look_done(images: MigrationBench) -> None:
    images.store.add_account(DATABASE, ServerAccount(USER, PASSWORD, no_access={TABLE: ["NexusExportDate"]}))
    assert "may not see the field NexusExportDate" in found(images)["image_layout_unfit"]


# -- DICOM


def orthanc(settings: dict[str, str]) -> dict[str, object]:
    return {
        "orthanc_url": settings["ORTHANC_URL"],
        "orthanc_username": settings["ORTHANC_USERNAME"],
        "orthanc_password": SecretStr(settings["ORTHANC_PASSWORD"]),
    }


def test_an_orthanc_is_told_by_its_version_and_whether_it_lets_the_account_in(
    bench: MigrationBench, stack: LazyStack
) -> None:
    need_orthanc()
    given = orthanc(stack.orthanc.settings())
    line, rights, store = looked_at(bench, **given)
    assert (line.subject, rights.level, store.level) == ("Orthanc", "good", "good")
    assert line.found.endswith("; lets the account in")
    assert rights.found == "files are taken, up to 16.00 MB at least; nothing was stored"
    told = found(bench, **given | {"orthanc_password": SecretStr("wrong")})
    assert "login" in told["orthanc_unreachable"]
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        assert list(found(bench, **given | {"orthanc_url": url})) == ["orthanc_unreachable"]


@contextmanager
def system_says(**system: object) -> Iterator[str]:
    """An Orthanc of another version, by what `/system` answers."""
    with scripted(like_orthanc(system=SYSTEM | system)) as server:
        yield f"http://127.0.0.1:{server.port}"


def test_an_orthanc_with_known_weaknesses_and_one_that_overwrites_are_told(bench: MigrationBench) -> None:
    answers: list[tuple[dict[str, object], list[str]]] = [
        ({"Version": "1.9.7"}, ["orthanc_too_old"]),
        ({"Version": "1.12.10", "OverwriteInstances": False}, ["orthanc_too_old"]),
        ({"Version": "1.12.11", "OverwriteInstances": False}, []),
        ({"Version": "1.13.0", "OverwriteInstances": True}, ["orthanc_overwrites"]),
        ({"OverwriteInstances": False, "OverwriteInstancesMode": "Never"}, []),
        ({"OverwriteInstances": False, "OverwriteInstancesMode": "IfChanged"}, ["orthanc_overwrites"]),
        ({"Version": "mainline"}, []),
        ({}, []),
        ({"Version": None}, ["orthanc_unreachable"]),
    ]
    for system, rules in answers:
        with system_says(**system) as url:
            findings = check_dicom(bench.with_settings(orthanc_url=url).settings, FindingBuilder(load_rules(), "DICOM"))
            assert [each.rule for each in findings if each.level != "good"] == rules, system


def test_the_hospitals_directory_is_told_by_what_is_wrong_with_it_and_never_by_its_name(
    bench: MigrationBench, tmp_path: Path
) -> None:
    folder = tmp_path / "SURNAME^GIVEN"
    said = [found(bench, hospital_data_path=folder)]
    folder.mkdir()
    said.append(found(bench, hospital_data_path=folder))
    (folder / "a file").write_bytes(b"0")
    said.append(found(bench, hospital_data_path=folder / "a file"))
    said.append(found(bench, hospital_data_path=folder, dicom_allowed_roots=str(tmp_path / "other")))
    assert [list(each) for each in said] == [
        ["dicom_path_unusable"],
        ["dicom_path_empty"],
        ["dicom_path_unusable"],
        ["dicom_path_unusable"],
    ]
    (line,) = looked_at(bench, hospital_data_path=folder)
    assert (line.level, line.found.endswith("; not watched")) == ("good", True)
    assert "SURNAME" not in json.dumps([*said, line.found])


def test_a_directory_that_is_a_recycle_bin_by_its_name_is_told_so(bench: MigrationBench, tmp_path: Path) -> None:
    folder = tmp_path / "#recycle"
    folder.mkdir()
    (folder / "a file").write_bytes(b"0")
    (line,) = looked_at(bench, hospital_data_path=folder)
    assert (line.level, "deleted files or snapshots" in line.found) == ("good", True)


def test_what_the_administrator_has_configured_counts_and_not_the_environment(
    bench: MigrationBench, tmp_path: Path
) -> None:
    settings = bench.with_settings(
        hospital_data_path=tmp_path / "not there", dicom_allowed_roots=str(tmp_path)
    ).settings
    changes = {"hospital_data_path": str(tmp_path), "monitoring_enabled": True, "monitoring_interval": 45}
    configure(settings, changes, actor="bench", now=RUN_TIME)
    findings = [each for each in preflight(settings, files=True) if each.area == "DICOM"]
    assert findings[0].found == "can be listed, and lies in an allowed root; looked at every 45 seconds"
    assert [(each.rule, each.found) for each in findings[1:]] == [
        ("orthanc_unreachable", "the directory is watched, and ORTHANC_URL is not set")
    ]


def test_a_database_that_is_lost_between_two_checks_is_told_and_one_that_never_answered_is_told_once(
    images: MigrationBench,
) -> None:
    lost = images.with_settings(nexus_database_url=SecretStr("postgresql://u:p@127.0.0.1:1/nexus")).settings
    for check, area in ((check_image_tables, "images"), (check_dicom, "DICOM")):
        (finding,) = check(lost, FindingBuilder(load_rules(), area))  # type: ignore[arg-type]
        assert (finding.level, "No server listens" in finding.found) == ("warning", True)
    said = [each.rule for each in preflight(lost, files=True) if "No server listens" in each.found]
    assert said == ["nexus_unreachable"]


# -- The command


def test_the_command_shows_it_on_eighty_columns_and_exits_as_before(
    images: MigrationBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = {"HOSPITAL_DATA_PATH": str(tmp_path / "not there"), "S3_BULK_PREFIX": "elsewhere/", "COLUMNS": "80"}
    with system_says(Version="1.10.1", OverwriteInstances=True) as url:
        result = CliRunner().invoke(main, ["check"], env=images.environment() | more | {"ORTHANC_URL": url})
    assert result.exit_code == 0, result.output
    for rule in ("image_dump_empty", "orthanc_too_old", "orthanc_overwrites", "dicom_path_unusable"):
        assert rule in result.output
    assert "…" not in result.output
    assert "Nothing that was looked at stops a reimport; worth a look: 5 findings." in result.output
