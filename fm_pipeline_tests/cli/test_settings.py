"""Each command asks for the settings that it uses, and for no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fm_pipeline.cli.main import main
from fm_pipeline.preflight.preflight import preflight
from fm_pipeline.settings import Settings, load_settings
from fm_pipeline_tests.support.clinics import MigrationBench

NOBODY = "postgresql://nobody:nothing@127.0.0.1:1/nowhere"


def run(*words: str, **settings: str) -> Result:
    """A command in a process that knows these settings and no others."""
    environment: dict[str, str | None] = {name.upper(): None for name in Settings.model_fields}
    return CliRunner().invoke(main, words, env=environment | settings)


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("backup",),
        ("backup", "--list"),
        ("dicom", "jobs"),
        ("dicom", "history"),
        ("dicom", "configuration"),
    ],
    ids=" ".join,
)
def test_what_reads_no_filemaker_does_without_its_settings(bench: MigrationBench, words: tuple[str, ...]) -> None:
    done = run(*words, NEXUS_DATABASE_URL=bench.database_url, STATE_DIR=str(bench.settings.state_dir))
    assert done.exit_code == 0, done.output


def test_files_are_checked_without_filemaker(bench: MigrationBench) -> None:
    done = run("files", "check", NEXUS_DATABASE_URL=bench.database_url, STATE_DIR=str(bench.settings.state_dir))
    assert "FILEMAKER" not in done.output


def test_rules_are_shown_without_any_setting() -> None:
    assert run("check", "--rules").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [("plan",), ("reimport", "--plan", "x", "--confirm", "y"), ("images", "import"), ("images", "reconcile")],
    ids=" ".join,
)
def test_what_reads_filemaker_names_every_setting_that_is_missing_before_any_server_is_asked(
    words: tuple[str, ...],
) -> None:
    refused = run(*words, NEXUS_DATABASE_URL=NOBODY, FILEMAKER_URL="", FILEMAKER_USERNAME="pipeline")
    assert refused.exit_code == 1
    assert "FILEMAKER_URL and FILEMAKER_DATABASE and FILEMAKER_PASSWORD are not set" in refused.stderr
    assert "Set them in the environment or in .env" in refused.stderr


def test_the_check_says_that_filemaker_is_not_set_and_looks_at_the_rest(tmp_path: Path) -> None:
    settings = load_settings(_env_file=None, nexus_database_url=NOBODY, state_dir=tmp_path)
    findings = {finding.subject: finding for finding in preflight(settings)}
    assert findings["settings"].level == "stop"
    assert "FILEMAKER_DATABASE" in findings["settings"].found
    assert findings["state folder"].level == "good"


def test_a_database_that_does_not_answer_is_told_as_such() -> None:
    refused = run("status", NEXUS_DATABASE_URL=NOBODY)
    assert refused.exit_code == 1
    assert "No server listens on the host and port of NEXUS_DATABASE_URL" in refused.stderr
    assert "Correct host and port, or start the server." in refused.stderr


@pytest.mark.parametrize("words", [("status",), ("dicom", "jobs"), ("check",)], ids=" ".join)
@pytest.mark.parametrize(
    "url", ["postgresql://u:secret@h:54x2/nexus", "host=h password=secret", "postgresql://u:secret"]
)
def test_a_url_that_cannot_be_read_is_told_by_the_name_of_its_setting(words: tuple[str, ...], url: str) -> None:
    refused = run(*words, NEXUS_DATABASE_URL=url)
    assert refused.exit_code == 1
    assert "NEXUS_DATABASE_URL" in refused.output
    assert "not foreseen" not in refused.output
    assert "secret" not in refused.output


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "Australia"])
def test_a_time_zone_that_does_not_exist_is_a_wrong_setting(zone: str) -> None:
    refused = run("status", NEXUS_DATABASE_URL=NOBODY, CLINIC_TIME_ZONE=zone)
    assert refused.exit_code == 1
    assert "CLINIC_TIME_ZONE: is no time zone" in refused.stderr


def test_wrong_rules_are_told_before_filemaker_is_read(bench: MigrationBench, tmp_path: Path) -> None:
    refused = run("plan", **bench.environment() | {"RULES_FILE": str(tmp_path / "gone.yaml")})
    assert refused.exit_code == 1
    assert "RULES_FILE" in refused.stderr
    assert bench.stand_in.counters()["requests"] == {}
