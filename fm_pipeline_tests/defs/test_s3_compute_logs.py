"""What runs print, on several hosts: kept in S3 with the key of the settings, and downloaded through the console."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

import dagster as dg
import pytest
import yaml

from fm_pipeline.defs.dagster_internals import ComputeIOType
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline_tests.support.buckets import BucketBench

KEY = ["a run", "compute_logs", "abcdefgh"]
ERR = ComputeIOType.STDERR


@pytest.fixture
def instance(s3: BucketBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance with the compute logs of deploy/celery/dagster.yaml."""
    environment = s3.environment() | {"DAGSTER_LOGS_BUCKET": s3.name, "DAGSTER_HOME": str(tmp_path)}
    nobody = ("NEXUS_DATABASE_URL", "FILEMAKER_URL", "FILEMAKER_DATABASE", "FILEMAKER_USERNAME", "FILEMAKER_PASSWORD")
    for name, value in (environment | dict.fromkeys(nobody, "http://127.0.0.1:1")).items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    settings = yaml.safe_load((PACKAGE_PARENT / "deploy" / "celery" / "dagster.yaml").read_text("utf-8"))
    overrides = {"compute_logs": settings["compute_logs"]}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as instance:
        yield instance


def test_what_a_run_prints_is_kept_in_s3_and_read_from_there(
    instance: dg.DagsterInstance, s3: BucketBench, tmp_path: Path
) -> None:
    logs = instance.compute_log_manager
    with logs.open_log_stream(KEY, ERR) as stream:
        assert isinstance(stream, TextIOWrapper)
        stream.write("Import job 7 has begun.\n")
    assert [path for path in (tmp_path / "compute_logs").rglob("*") if path.is_file()] == []
    assert logs.get_log_data(KEY).stderr == b"Import job 7 has begun.\n"
    location = f"s3://{s3.name}/dagster-logs/storage/a run/compute_logs/abcdefgh.err"
    assert logs.get_log_metadata(KEY).stderr_location == location


def test_the_output_of_a_run_that_is_interrupted_is_kept_too(instance: dg.DagsterInstance) -> None:
    logs = instance.compute_log_manager

    def run() -> None:
        with logs.capture_logs(KEY):
            sys.stderr.write("Import job 7 has begun.\n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert logs.get_log_metadata(KEY).stderr_download_url is not None
    assert logs.get_log_data(KEY).stderr == b"Import job 7 has begun.\n"


def test_it_is_downloaded_through_the_console_and_not_by_a_signed_address(instance: dg.DagsterInstance) -> None:
    logs = instance.compute_log_manager
    assert logs.get_log_metadata(KEY).stderr_download_url is None
    with logs.open_log_stream(KEY, ERR):
        pass
    assert logs.get_log_metadata(KEY).stderr_download_url == "/logs/a run/compute_logs/abcdefgh/err"
