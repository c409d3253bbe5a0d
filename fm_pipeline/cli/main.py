"""`fm-pipeline`: the group, and the one place that turns errors into messages and exit codes.

A command `some-name` is a module `some_name.py` beside this one with a click command called `command`.

Exit codes: 0 done; 1 an error, whose message is printed; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

from pathlib import Path

import click

from fm_pipeline.cli._shared.interrupts import INTERRUPTED, end_at_next_interrupt, ignore_further_interrupts
from fm_pipeline.cli._shared.json_output import error_json, is_json_wanted
from fm_pipeline.cli._shared.lazy_group import LazyGroup
from fm_pipeline.errors import PipelineError, RequestError, unforeseen
from fm_pipeline.ignored_interrupts import repeat_ignored_interrupts

INTERRUPTED_WORDS = (
    "Interrupted.",
    "What was not committed was rolled back.",
    "fm-pipeline status shows what was done.",
)
INTERRUPTED_CODE, FAILED_CODE = 499, 500  # HTTP: the client has closed the request; internal error


class Commands(LazyGroup):
    """The group of all commands; it handles every error."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; print the message of an error to standard error."""
        repeat_ignored_interrupts()
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt as interrupt:
            ignore_further_interrupts()
            said = interrupt.args or INTERRUPTED_WORDS  # see `at_interrupt`
            if is_json_wanted(ctx):
                click.echo(error_json(INTERRUPTED_CODE, *said))
            else:
                click.echo("\n" + " ".join(said), err=True)
            end_at_next_interrupt()
            ctx.exit(INTERRUPTED)
        except Exception as fault:  # noqa: BLE001  # told without its text
            error = fault if isinstance(fault, PipelineError) else _explained(fault)
            if is_json_wanted(ctx):
                code = error.code if isinstance(error, RequestError) else FAILED_CODE
                click.echo(error_json(code, error.what, error.meaning, error.remedy))
            else:
                _print_error(error)
            ctx.exit(1)


def _explained(fault: Exception) -> PipelineError:
    try:
        Path.cwd()
    except FileNotFoundError:
        return PipelineError(
            "The current folder is gone: it was removed or renamed.",
            meaning="The command cannot read or write files there.",
            remedy="Change to a folder that exists, and run it again.",
        )
    return unforeseen(fault)


def _print_error(error: PipelineError) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    console.print(Text(error.what, style="bold red"), soft_wrap=True)
    for sentence in (error.meaning, error.remedy):
        if sentence:
            console.print(Text(sentence), soft_wrap=True)


@click.group(cls=Commands, package="fm_pipeline.cli", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fm_pipeline")
def main() -> None:
    """Carry a clinic's data from FileMaker into Nexus."""
