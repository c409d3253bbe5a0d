"""`fm-pipeline dicom`: the group; each command is a module of `_dicom`, imported when it is needed."""

from __future__ import annotations

import importlib
import pkgutil

import click

import fm_pipeline.cli._dicom


class _Commands(click.Group):
    """A group whose commands are the modules of `fm_pipeline.cli._dicom`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        modules = (module.name for module in pkgutil.iter_modules(fm_pipeline.cli._dicom.__path__))
        return sorted(name.removesuffix("_") for name in modules if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        name = "import_" if cmd_name == "import" else cmd_name  # a word of the language
        command = importlib.import_module(f"fm_pipeline.cli._dicom.{name}").command
        assert isinstance(command, click.Command)  # noqa: S101  # a programming error, not a user's
        return command


@click.group(name="dicom", cls=_Commands)
def command() -> None:
    """Bring DICOM files of hospital directories into Orthanc, and watch what becomes of them."""
