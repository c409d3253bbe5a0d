"""Help and wrong usage wait for no package but click: a command imports what it uses when it is carried out."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline_tests.cli.test_commands_snapshot import COMMANDS

# In a process of its own, because this one has imported everything. The finder of an editable install is there before.
IMPORTED = """
import contextlib, io, sys
before = set(sys.modules)
from fm_pipeline.cli.main import main
for typed in sys.stdin.read().splitlines():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        with contextlib.suppress(SystemExit):
            main(typed.split())
    packages = {name.partition(".")[0] for name in set(sys.modules) - before}
    before |= set(sys.modules)
    for name in sorted(packages - sys.stdlib_module_names - {"click", "fm_pipeline"}):
        if not name.startswith("_sysconfigdata"):  # Python's own, of this platform
            print(f"fm-pipeline {typed} imports {name}")
"""
REFUSED_BY_THE_COMMAND = (
    "backup --list --prune",
    "dicom configure",
    "dicom import --job-id 1 --prepare",
    "dicom status --watch --json",
    "files check --all --sample 1",
    "patient x --confirm y",
    "restore",
    "restore --drill postgresql:// --dry-run",
    "status --watch --json",
)


def imported(*typed: str) -> list[str]:
    """Which packages these commands import that do not come with Python."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", IMPORTED],
        input="\n".join(typed),
        cwd=PACKAGE_PARENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("option", ["--help", "--no-such-option"])
def test_help_and_a_mistyped_option_of_any_command_import_nothing_but_click(option: str) -> None:
    commands = [words.removeprefix("fm-pipeline ") for words in COMMANDS]
    assert imported(option, *(f"{words} {option}" for words in commands)) == []


def test_a_mistyped_command_and_options_that_exclude_each_other_import_nothing_but_click() -> None:
    assert imported("--version", "reimprot", "dicom statsu", *REFUSED_BY_THE_COMMAND) == []


@pytest.mark.parametrize("typed", ["status", "check --rules"])
def test_a_command_imports_no_package_of_another_one(typed: str) -> None:
    packages = {line.rpartition(" ")[2] for line in imported(typed)}
    assert "pydantic" in packages
    assert packages & {"alembic", "boto3", "dagster", "django", "pandas", "pydicom", "requests", "sqlalchemy"} == set()


def test_the_process_of_a_run_imports_what_images_dicom_and_s3_need_only_in_the_runs_that_use_it() -> None:
    heavy = ("PIL", "boto3", "dagster_aws", "numpy", "pandas", "pydicom")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", f"import sys, fm_pipeline.definitions; print(*sys.modules.keys() & set({heavy}))"],
        cwd=PACKAGE_PARENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("word", ["check", "plan"])
def test_on_a_terminal_a_command_that_connects_says_so_before_it_loads_anything(word: str) -> None:
    terminal, end = os.openpty()
    words = [sys.executable, "-m", "fm_pipeline", word]
    done = subprocess.run(  # noqa: S603
        words, cwd=PACKAGE_PARENT, env=os.environ | {"NEXUS_DATABASE_URL": ""}, stdout=end, stderr=end, check=False
    )
    os.close(end)
    first, *others = os.read(terminal, 4096).decode().splitlines()
    os.close(terminal)
    assert (done.returncode, first[-1]) == (1, "…")
    assert "NEXUS_DATABASE_URL" in others[0]
