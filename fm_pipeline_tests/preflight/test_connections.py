from __future__ import annotations

from pathlib import Path

import pytest

from fm_pipeline.preflight.connections import ConnectionState, read_connections
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.settings import Settings, load_settings
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.services import LazyStack


def states(settings: Settings) -> dict[str, ConnectionState]:
    return {each.name: each for each in read_connections(settings)}


def test_each_system_says_whether_it_answers_and_what_is_not_set_up(bench: MigrationBench, s3: BucketBench) -> None:
    found = states(s3.settings(bench.settings))
    assert {name: state.state for name, state in found.items()} == {
        "FileMaker": "connected",
        "S3": "connected",
        "Orthanc": "not set up",
    }
    assert "layouts can be seen" in found["FileMaker"].found
    assert "@" not in found["FileMaker"].where


def test_a_folder_of_exports_takes_the_place_of_the_server(tmp_path: Path) -> None:
    given = {"nexus_database_url": "postgresql://x/y", "filemaker_door": "exports"}
    assert states(load_settings(_env_file=None, **given))["FileMaker"].state == "not set up"
    (tmp_path / "Notes.tab").write_bytes(b"1\tx\r")
    found = states(load_settings(_env_file=None, **given, filemaker_exports_folder=tmp_path))["FileMaker"]
    assert found == ConnectionState("FileMaker", str(tmp_path), "connected", "1 export file can be seen.")
    gone = states(load_settings(_env_file=None, **given, filemaker_exports_folder=tmp_path / "gone"))["FileMaker"]
    assert (gone.state, "FILEMAKER_EXPORTS_FOLDER" in gone.found) == ("not connected", True)


def test_a_system_that_does_not_answer_is_a_state_with_what_to_do(bench: MigrationBench, s3: BucketBench) -> None:
    settings = s3.settings(bench.with_settings(filemaker_username="nobody").settings)
    settings = settings.model_copy(update={"s3_bucket": "no-such-bucket", "orthanc_url": "http://127.0.0.1:9"})
    found = states(settings)
    assert {state.state for state in found.values()} == {"not connected"}
    assert all(len(state.found) > 20 for state in found.values())


@pytest.mark.skipif(not OrthancService.available(), reason="no Orthanc on this machine")
def test_orthanc_says_how_much_it_holds_and_how_much_room_is_left(bench: MigrationBench, stack: LazyStack) -> None:
    account = {name.lower(): value for name, value in stack.orthanc.settings().items()}
    settings = Settings.model_validate({**bench.settings.model_dump(exclude_unset=True), **account})
    found = states(settings)["Orthanc"]
    assert found.state == "connected"
    assert found.found.startswith("Version 1.")
    assert "It holds" in found.found
