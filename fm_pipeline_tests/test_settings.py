"""Where settings come from."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from fm_pipeline.env_file import env_line, validate_env_file
from fm_pipeline.errors import SettingsError
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.settings import ENV_FILE, Settings, load_clinic_time_zone, load_filemaker_profile, load_settings

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


def test_a_missing_setting_is_told_with_the_file_that_was_looked_for_and_the_one_above_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENV_FILE)
    with pytest.raises(SettingsError) as read:
        load_settings()
    assert f"({checkout / '.env'} was read)" in read.value.remedy
    (checkout / "docs").mkdir()
    monkeypatch.chdir(checkout / "docs")
    with pytest.raises(SettingsError) as above:
        load_settings()
    expected = f"({checkout / 'docs' / '.env'} is not there; {checkout / '.env'} is: change to its folder)"
    assert expected in above.value.remedy


def test_in_a_subfolder_the_env_file_of_the_checkout_is_read_with_its_paths(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENV_FILE)
    (checkout / "fm_pipeline").symlink_to(PACKAGE_PARENT / "fm_pipeline")
    (checkout / "docs" / "pictures").mkdir(parents=True)
    (checkout / ".env").write_text(
        "RULES_FILE=quarantine\nFILEMAKER_PROFILE=ours/clinic.yaml\nIMAGE_EXPORT_FILE=images.tab\n", "utf-8"
    )
    monkeypatch.chdir(checkout / "docs" / "pictures")
    monkeypatch.setenv("BACKUP_DIR", "typed")
    settings = load_settings(**NEEDED)
    assert (settings.state_dir, settings.image_export_file) == (checkout / ".state", checkout / "images.tab")
    assert (settings.rules_file, settings.backup_dir) == (Path("quarantine"), Path("typed"))
    assert settings.filemaker_profile == load_filemaker_profile() == str(checkout / "ours" / "clinic.yaml")
    with pytest.raises(SettingsError) as missing:
        load_settings()
    assert f"({checkout / '.env'} was read)" in missing.value.remedy
    (checkout / "docs" / "pictures" / ".env").write_text("NEXUS_SCHEMA=nearest\n", "utf-8")
    assert load_settings(**NEEDED).nexus_schema == "nearest"


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


@pytest.fixture(scope="module")
def env_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random")


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


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("secret${cd}ef", "${…} would be replaced"),
        ("'secret${cd}ef'", "${…} would be replaced"),
        ('"secret${cd}ef"', "${…} would be replaced"),
        ("secret$${cd}ef", "${…} would be replaced"),
        ("${HOME:-secret}", "${…} would be replaced"),
        ("secret #cd", "what follows the #"),
        ("secret\t# our password", "what follows the #"),
        (" # secret", "what follows the #"),
        (r'"C:\new\secret"', "line break"),
        ('"secret\nSMTP_USERNAME="', "line break"),
        ("'secret'#cd", "what follows the #"),
        (r"'secret\\cd'", "a backslash would be left out"),
        (r"'secret\'cd'", "a backslash would be left out"),
        (r'"secret\'cd"', "a backslash would be left out"),
    ],
)
def test_a_value_that_would_be_read_in_another_way_is_refused_by_line_and_name(
    env_file: Path, written: str, why: str
) -> None:
    env_file.write_text(f"{GIVEN}\n  \nexport FILEMAKER_PASSWORD={written}\n", "utf-8")
    error = refused()
    assert "line 6, FILEMAKER_PASSWORD: " in error.what
    assert why in error.what


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("secret$cd#ef{}", "secret$cd#ef{}"),
        ("'secret #cd'  # a comment", "secret #cd"),
        ('"secret #cd"', "secret #cd"),
        (r'"secret\\cd\"ef"', r'secret\cd"ef'),
        (r"secret\\cd\n", r"secret\\cd\n"),
        (r"'secret\cd'", r"secret\cd"),
        ("'secret${cd'", "secret${cd"),
    ],
)
def test_a_value_that_is_read_as_it_is_written_is_taken(env_file: Path, written: str, value: str) -> None:
    env_file.write_text(f"{GIVEN}FILEMAKER_PASSWORD={written}\nPATH=${{HOME}}:a # b\nPATH=c\n", "utf-8")
    password = load_settings().filemaker_password
    assert password is not None
    assert password.get_secret_value() == value


def test_a_setting_that_is_set_twice_is_refused_by_its_lines(env_file: Path) -> None:
    env_file.write_text(GIVEN + "nexus_letters=delete\n", "utf-8")
    assert "lines 2, 4, NEXUS_LETTERS: it is set more than once" in refused().what


def test_a_line_without_an_equal_sign_is_refused_whatever_stands_in_it(env_file: Path) -> None:
    env_file.write_text(
        GIVEN + "SMTP_PASSWORD=\nsecret\n\nNEXUS_REMINDERS\nexport PATH\nexport NEXUS_LETTERS\n", "utf-8"
    )
    assert refused().what == "trial.env has lines that cannot be read: 5, 7."


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_a_line_that_was_written_for_a_value_is_read_as_that_value_or_refused(value: str) -> None:
    try:
        line = env_line("FILEMAKER_PASSWORD", value)
    except SettingsError:
        return
    assert dotenv_values(stream=io.StringIO(line + "\nNEXT=1\n")) == {"FILEMAKER_PASSWORD": value, "NEXT": "1"}
    assert shlex.split(line) == [f"FILEMAKER_PASSWORD={value}"]


PIECES = ["secret", "a b", " ", "#", " #", "'", '"', "\\", "$", "}", "=", "\t", "é", "export "]


@given(st.lists(st.sampled_from(PIECES), max_size=7).map("".join))
def test_what_is_taken_is_what_a_shell_reads_or_what_is_written(env_folder: Path, written: str) -> None:
    file = env_folder / "random.env"
    file.write_text(f"SMTP_PASSWORD={written}\nNEXUS_SCHEMA=trial\n", "utf-8")
    try:
        validate_env_file(file, ["SMTP_PASSWORD", "NEXUS_SCHEMA"])
    except SettingsError:
        return
    values = dotenv_values(file)
    assert values["NEXUS_SCHEMA"] == "trial"
    plain = written.strip()
    expected = shlex.split(plain, comments=True) if plain[:1] in ("'", '"') else [plain]
    assert [values["SMTP_PASSWORD"]] == expected


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
    ],
)
def test_a_value_that_no_server_could_make_sense_of_is_refused_by_the_name_of_its_setting(
    env_file: Path, name: str, value: str
) -> None:
    env_file.write_text("".join(line + "\n" for line in GIVEN.splitlines() if name not in line) + f"{name}={value}\n")
    error = refused()
    assert error.what.startswith(f"The settings cannot be used: {name}: ")
    assert "Value error" not in error.what


def test_an_empty_setting_is_not_set_and_refused_where_it_must_have_a_value(env_file: Path) -> None:
    for name, field in Settings.model_fields.items():
        env_file.write_text("".join(f"{key}={value}\n" for key, value in ({**NEEDED, name: ""}).items()))
        if field.is_required():
            assert f"{name.upper()}: is empty." in refused().what
        elif field.default is None:
            assert getattr(load_settings(), name) is None
        else:
            assert f"{name.upper()}: is empty; the default is {field.default}." in refused().what


def test_the_clinics_time_zone_is_read_where_nothing_else_is_set(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_clinic_time_zone() == "Australia/Sydney"
    (checkout / "clinic.env").write_text("CLINIC_TIME_ZONE=Europe/Berlin\n", "utf-8")
    monkeypatch.setenv(ENV_FILE, "clinic.env")
    assert load_clinic_time_zone() == "Europe/Berlin"
    monkeypatch.setenv("CLINIC_TIME_ZONE", "Berlin")
    with pytest.raises(SettingsError, match="CLINIC_TIME_ZONE: is no time zone"):
        load_clinic_time_zone()
