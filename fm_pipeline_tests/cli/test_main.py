"""What every command has in common: how an error looks, and the exit code."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from fm_pipeline.cli.main import Commands
from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT


@pytest.fixture
def group() -> click.Group:
    """A group like the real one, with a command that fails."""

    @click.command()
    def failing() -> None:
        raise PipelineError("It failed [for a reason].", meaning="Nexus is unchanged.", remedy="Try again.")

    @click.command()
    @click.argument("typed")
    def unlucky(typed: str) -> None:
        int(typed)

    class WithFailing(Commands):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            return {"failing": failing, "unlucky": unlucky}.get(cmd_name) or super().get_command(ctx, cmd_name)

    return WithFailing("fm-pipeline", package="fm_pipeline.cli")


def test_an_error_is_told_in_its_sentences_and_exits_with_1(group: click.Group) -> None:
    result = CliRunner().invoke(group, ["failing"])
    assert result.exit_code == 1
    assert result.stderr == "It failed [for a reason].\nNexus is unchanged.\nTry again.\n"
    assert result.stdout == ""


def test_an_error_that_nobody_foresaw_is_told_by_its_class_and_place_and_not_by_its_text(group: click.Group) -> None:
    result = CliRunner().invoke(group, ["unlucky", "0491 837 264 Zebedee"])
    assert result.exit_code == 1
    assert "ValueError, at " in result.stderr
    assert "test_main.py:" in result.stderr
    assert "0491" not in result.output


def test_wrong_usage_exits_with_2(group: click.Group) -> None:
    assert CliRunner().invoke(group, ["no-such-command"]).exit_code == 2
    assert CliRunner().invoke(group, ["stack", "up", "--no-such-option"]).exit_code == 2
    assert CliRunner().invoke(group, ["stack", "up", "--s3-port", "70000"]).exit_code == 2


def test_a_mistyped_command_is_answered_with_its_neighbour(group: click.Group) -> None:
    for typed, meant in ((["reimprot"], "reimport"), (["dicom", "statsu"], "status"), (["stack", "dwon"], "down")):
        result = CliRunner().invoke(group, typed)
        assert (result.exit_code, f"Did you mean '{meant}'?" in result.stderr) == (2, True), result.stderr


def test_the_module_is_the_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "fm_pipeline", "stack", "--help"],
        cwd=PACKAGE_PARENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Commands:" in result.stdout
