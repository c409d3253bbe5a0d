"""`fm-pipeline images`: the group. A command `some-name` of it is a module `_images_some_name.py` beside this one."""

from __future__ import annotations

import importlib
import pkgutil

import click

import fm_pipeline.cli

PREFIX = "_images_"


class ImageCommands(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        modules = (module.name for module in pkgutil.iter_modules(fm_pipeline.cli.__path__))
        return sorted(name.removeprefix(PREFIX).replace("_", "-") for name in modules if name.startswith(PREFIX))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name; None if there is none."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"fm_pipeline.cli.{PREFIX}{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)  # noqa: S101  # a programming error, not a user's
        return command


@click.group(cls=ImageCommands, name="images")
def command() -> None:
    """Images: linked from the bulk dump, or imported from FileMaker's containers."""
