"""Programs that no Python package has: which one is taken, and what is said where none can be had."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.programs.programs import Program

SETTING = "FM_PIPELINE_VIEWER"
VIEWER = Program("Viewer", SETTING, ["dicom-viewer-of-tests"], ["dicom-viewer-of-tests"], "usr/bin/viewer", 1)


def _executable(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", "utf-8")
    path.chmod(0o700)
    return str(path)


def test_the_named_program_is_taken_before_the_installed_and_that_before_the_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv(SETTING, raising=False)
    assert VIEWER.find() is None
    unpacked = _executable(tmp_path / "cache" / "fm_pipeline" / "viewer" / "run")
    assert VIEWER.find() == VIEWER.bring(Console(quiet=True)) == unpacked
    installed = _executable(tmp_path / "bin" / "dicom-viewer-of-tests")
    assert VIEWER.find() == installed
    named = _executable(tmp_path / "mine")
    monkeypatch.setenv(SETTING, named)
    assert VIEWER.find() == named


def test_a_name_that_is_wrong_is_told_and_not_replaced_by_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    _executable(tmp_path / "fm_pipeline" / "viewer" / "run")
    monkeypatch.setenv(SETTING, str(tmp_path / "no such file"))
    with pytest.raises(PipelineError, match=f"{SETTING} names .*no such file, which is no file"):
        VIEWER.bring(Console(quiet=True))


def test_a_system_without_apt_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(SETTING, raising=False)
    with pytest.raises(PipelineError, match="no apt-get") as told:
        VIEWER.bring(Console(quiet=True))
    assert SETTING in told.value.remedy
