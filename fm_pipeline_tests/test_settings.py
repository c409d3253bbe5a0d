"""Where settings come from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fm_pipeline.errors import SettingsError
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


# What editors and people make of a .env

GIVEN = "NEXUS_DATABASE_URL=postgresql://nobody@127.0.0.1/nowhere\nNEXUS_LETTERS=keep\nNEXUS_SCHEMA=trial\n"


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A .env to be written, which the settings are read from."""
    file = tmp_path / "trial.env"
    monkeypatch.setenv(ENV_FILE, str(file))
    return file


def refused() -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "secret" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        GIVEN,
        "\ufeff" + GIVEN,
        GIVEN.replace("\n", "\r\n"),
        GIVEN.replace("NEXUS", "export NEXUS"),
        GIVEN.replace("=", " = ").replace("\n", "   \n"),
        "".join(f"{name}='{value}'\n" for name, value in (line.split("=", 1) for line in GIVEN.splitlines())),
        "".join(f'{name}="{value}"\n' for name, value in (line.split("=", 1) for line in GIVEN.splitlines())),
    ],
    ids=["plain", "mark", "windows", "export", "spaces", "single", "double"],
)
def test_an_env_file_is_read_with_a_mark_windows_line_ends_quotes_spaces_and_export(env_file: Path, text: str) -> None:
    env_file.write_bytes(text.encode())
    settings = load_settings()
    assert (settings.nexus_letters, settings.nexus_schema) == ("keep", "trial")
    assert settings.nexus_database_url.get_secret_value() == "postgresql://nobody@127.0.0.1/nowhere"


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_an_env_file_that_is_not_utf_8_is_refused_by_name(env_file: Path, encoding: str) -> None:
    env_file.write_bytes((GIVEN + "SMTP_PASSWORD=secret-ü\n").encode(encoding))
    error = refused()
    assert error.what == "trial.env is not in UTF-8."
    assert "UTF-8" in error.remedy


def test_a_line_that_cannot_be_read_is_refused_because_the_default_might_delete(env_file: Path) -> None:
    env_file.write_text(GIVEN.replace("=keep", '="keep') + "no setting, secret\n", "utf-8")
    assert refused().what == "trial.env has lines that cannot be read: 2, 4."


def test_a_name_with_a_typing_error_is_refused_because_the_default_might_delete(env_file: Path) -> None:
    env_file.write_text(GIVEN.replace("LETTERS", "LETERS"), "utf-8")
    assert refused().what == "trial.env sets NEXUS_LETERS, which is no setting; NEXUS_LETTERS is one."


def test_names_of_other_programs_may_stand_in_an_env_file(env_file: Path) -> None:
    others = "AWS_PROFILE=a\nAWS_SESSION_TOKEN=b\nAWS_DEFAULT_REGION=c\nDAGSTER_HOME=d\nPATH=e\nSMTP=f\n"
    env_file.write_text(GIVEN + others + "FM_PIPELINE_POSTGRESQL=16\nTZ=UTC\n", "utf-8")
    assert load_settings().nexus_letters == "keep"


def test_an_env_file_that_is_named_and_not_there_is_refused(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXUS_DATABASE_URL", "postgresql://nobody@127.0.0.1/the_real_one")
    assert ENV_FILE in refused().what
    env_file.mkdir()
    assert ENV_FILE in refused().what


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FILEMAKER_TIMEOUT_SECONDS", "inf"),
        ("FILEMAKER_IMAGE_REST_SECONDS", "1e30"),
        ("S3_TIMEOUT_SECONDS", "inf"),
        ("ORTHANC_TIMEOUT_SECONDS", "nan"),
        ("S3_ENDPOINT_URL", "s3.example"),
        ("ORTHANC_URL", "http://127.0.0.1:99999"),
        ("FILEMAKER_URL", "https://filemaker.example:x"),
        ("DAGSTER_UI_URL", "dagster.example"),
        ("SMTP_PORT", "99999"),
        ("STATE_DIR", ""),
        ("NEXUS_SCHEMA", ""),
    ],
)
def test_a_value_that_no_server_could_make_sense_of_is_refused_by_the_name_of_its_setting(
    env_file: Path, name: str, value: str
) -> None:
    env_file.write_text("".join(line + "\n" for line in GIVEN.splitlines() if name not in line) + f"{name}={value}\n")
    error = refused()
    assert error.what.startswith(f"The settings cannot be used: {name}: ")
    assert "Value error" not in error.what


def test_an_empty_address_of_the_s3_server_is_amazons(env_file: Path) -> None:
    env_file.write_text(GIVEN + "S3_ENDPOINT_URL=\n", "utf-8")
    assert load_settings().s3_endpoint_url is None
