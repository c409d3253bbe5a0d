"""`fm-pipeline`: the group, and the one place that turns an error into sentences and an exit code.

A command `some-name` is a module `some_name.py` beside this one with a click command called `command`. It is
imported when it is needed, so that a short command does not wait for Dagster.

Exit codes: 0 done; 1 an error, told in its sentences; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import importlib
import pkgutil

import click
from rich.console import Console
from rich.text import Text

import fm_pipeline.cli
from fm_pipeline.errors import PipelineError, unforeseen

INTERRUPTED = "\nInterrupted. What was not committed was rolled back; fm-pipeline status shows what was done."


class Commands(click.Group):
    """A group whose commands are the modules of `fm_pipeline.cli`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        modules = (module.name for module in pkgutil.iter_modules(fm_pipeline.cli.__path__))
        return sorted(_dashed(name) for name in modules if name != "main" and not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name; None if there is none."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"fm_pipeline.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)  # noqa: S101  # a programming error, not a user's
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error becomes its sentences on standard error."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo(INTERRUPTED, err=True)
            ctx.exit(130)
        except Exception as fault:  # noqa: BLE001  # told without its text
            error = fault if isinstance(fault, PipelineError) else unforeseen(fault)
            console = Console(stderr=True)
            console.print(Text(error.what, style="bold red"), soft_wrap=True)
            for sentence in (error.meaning, error.remedy):
                if sentence:
                    console.print(Text(sentence), soft_wrap=True)
            ctx.exit(1)


def _dashed(name: str) -> str:
    return name.replace("_", "-")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fm_pipeline")
def main() -> None:
    """Carry a clinic's data from FileMaker into Nexus."""
