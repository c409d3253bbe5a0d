"""What every command has in common: how an error looks, and the exit code."""

from __future__ import annotations

import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from fm_pipeline.cli.main import Commands
from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline_tests.support.waiting import wait_until


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


_INTERRUPTED = """
import click, io, signal, sys, threading
from fm_pipeline.cli._shared.interrupts import at_interrupt
from fm_pipeline.cli.main import Commands

class PressedAgain(io.TextIOWrapper):
    def write(self, text):
        signal.raise_signal(signal.SIGINT)
        return super().write(text)

@click.command()
def waiting():
    threading.Thread(target=threading.Event().wait).start()  # as one that waits for a server
    with at_interrupt("Nothing was read.", "Run it again."):
        sys.stderr = PressedAgain(sys.stderr.buffer, write_through=True)
        signal.raise_signal(signal.SIGINT)

class WithWaiting(Commands):
    def get_command(self, ctx, cmd_name):
        return waiting

WithWaiting("fm-pipeline", package="fm_pipeline.cli")(["waiting"])
"""


def has_ended_after_ctrl_c(command: subprocess.Popen[str]) -> bool:
    """Press Ctrl-C. Right after the sentence it is still ignored."""
    command.send_signal(signal.SIGINT)
    return command.poll() is not None


def test_ctrl_c_again_ends_neither_the_sentence_nor_the_exit_code_but_a_thread_that_waits() -> None:
    with subprocess.Popen([sys.executable, "-c", _INTERRUPTED], stderr=subprocess.PIPE, text=True) as command:  # noqa: S603
        try:
            assert command.stderr is not None
            said = command.stderr.readline() + command.stderr.readline()
            assert said == "\nInterrupted. Nothing was read. Run it again.\n"
            wait_until(lambda: has_ended_after_ctrl_c(command))
            assert command.returncode == 130
        finally:
            command.kill()
