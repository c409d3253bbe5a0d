"""Which PostgreSQL the sandbox and the tests run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.stack.postgresql_binaries import DEFAULT, IN_THE_WHEEL, POSTGRESQL, binaries


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty data directory."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_a_new_sandbox_runs_on_the_default_version_of_the_wheel(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(POSTGRESQL, raising=False)
    assert binaries(data).parent.name == IN_THE_WHEEL[DEFAULT]


@pytest.mark.parametrize("version", IN_THE_WHEEL)
def test_data_of_each_version_in_the_wheel_are_opened_by_that_version(
    data: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.delenv(POSTGRESQL, raising=False)
    (data / "PG_VERSION").write_text(f"{version}\n")
    assert binaries(data).parent.name == IN_THE_WHEEL[version]


def test_the_environment_names_a_version_of_the_wheel_or_a_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POSTGRESQL, "18")
    in_the_wheel = binaries(data)
    assert in_the_wheel.parent.name == "pginstall18"
    monkeypatch.setenv(POSTGRESQL, str(in_the_wheel))
    assert binaries(data) == in_the_wheel


def test_a_folder_without_a_server_is_refused_with_a_remedy(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POSTGRESQL, str(data))
    with pytest.raises(PipelineError, match="There is no PostgreSQL in"):
        binaries(data)


def test_data_of_another_version_are_refused_before_anything_starts(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "PG_VERSION").write_text("16\n")
    monkeypatch.setenv(POSTGRESQL, "18")
    with pytest.raises(PipelineError, match=r"made by PostgreSQL 16, but FM_PIPELINE_POSTGRESQL names PostgreSQL 18"):
        binaries(data)
    (data / "PG_VERSION").write_text("15\n")
    monkeypatch.delenv(POSTGRESQL)
    with pytest.raises(PipelineError, match=r"made by PostgreSQL 15, but the environment variable .* is not set"):
        binaries(data)
