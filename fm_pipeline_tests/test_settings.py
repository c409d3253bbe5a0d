"""Where settings come from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.settings import ENV_FILE, load_settings

NEEDED = {"nexus_database_url": "postgresql://nobody@127.0.0.1/nowhere"}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with somebody's .env, in which the test runs."""
    (tmp_path / ".env").write_text("NEXUS_SCHEMA=somebody_elses\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_test_reads_what_the_env_file_of_the_checkout_says(checkout: Path) -> None:
    assert load_settings(**NEEDED).nexus_schema == "public"
    code = f"from fm_pipeline.settings import load_settings; print(load_settings(**{NEEDED!r}).nexus_schema)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(PACKAGE_PARENT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "public\n"


def test_without_that_the_env_file_of_the_current_folder_is_read(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del checkout
    monkeypatch.delenv(ENV_FILE)
    assert load_settings(**NEEDED).nexus_schema == "somebody_elses"


def test_another_env_file_can_be_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "trial.env").write_text("NEXUS_SCHEMA=trial\n", "utf-8")
    monkeypatch.setenv(ENV_FILE, str(checkout / "trial.env"))
    assert load_settings(**NEEDED).nexus_schema == "trial"
