"""Groups whose commands are the modules of a package, imported when they are called or described."""

from __future__ import annotations

import importlib
import pkgutil

import click
from click.exceptions import NoSuchCommand


class LazyGroup(click.Group):
    """A group that imports a command when it is called or described.

    The command `some-name` is the object `command` of the module `some_name` (`import`, a keyword: `import_`). Modules
    whose names begin with an underscore, and `main`, are no commands.

    Args:
        package: the name of the package of modules.
    """

    def __init__(self, *args: object, package: str, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._package = package

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        modules = (module.name for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__))
        return sorted(
            name.rstrip("_").replace("_", "-") for name in modules if name != "main" and not name.startswith("_")
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command. Click looks for the one that was meant only among commands that are imported already."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            raise NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name; None if there is none."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = "import_" if cmd_name == "import" else cmd_name.replace("-", "_")
        command = importlib.import_module(f"{self._package}.{module}").command
        assert isinstance(command, click.Command)  # noqa: S101  # a programming error, not a user's
        return command
