from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fm_pipeline.cli._shared.program_name import program_name


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of our name in a folder that is not on PATH."""
    program = tmp_path / "bin" / "fm-pipeline"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", os.defpath)
    return program


def test_a_printed_command_names_the_program_as_it_was_called(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(program.parents[1])
    monkeypatch.setattr(sys, "argv", ["bin/fm-pipeline", "plan"])
    assert program_name() == "bin/fm-pipeline"
    monkeypatch.setenv("PATH", str(program.parent))
    assert program_name() == "fm-pipeline"


def test_a_program_that_was_called_otherwise_has_its_usual_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fm_pipeline/__main__.py", "plan"])
    assert program_name() == "fm-pipeline"
