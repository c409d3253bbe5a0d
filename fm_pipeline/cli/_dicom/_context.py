"""Shared by the commands: options, settings, output as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from fm_pipeline.cli._shared.json_output import json_option

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fm_pipeline.settings import Settings

as_json_option = json_option("Print the answer as JSON.")
path_argument = click.argument("path", required=False)


@dataclass(frozen=True)
class CommandContext:
    """The context of a command.

    Attributes:
        actor: for the audit trail.
        console: for text output.
    """

    settings: Settings
    actor: str
    as_json: bool
    console: Console

    @property
    def database_url(self) -> str:
        """The URL of the Nexus database."""
        return self.settings.nexus_database_url.get_secret_value()

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the clinic."""
        return ZoneInfo(self.settings.clinic_time_zone)

    def print_json(self, data: Mapping[str, Any], message: str = "") -> None:
        """Print `{"success": true, "data": …}`, the format of the hospital's own system."""
        said = {"message": message} if message else {}
        click.echo(json.dumps({"success": True, **said, "data": data}, indent=2))

    def stream_json(self, before: Mapping[str, Any], files: Iterable[Any], after: Callable[[], Any]) -> None:
        """Print the same with a list of files that is too long for memory. `after` is called at its end.

        Raises:
            Exception: of the first file, before anything is printed.
        """
        rest = iter(files)
        first = list(islice(rest, 1))
        compact = partial(json.dumps, separators=(", ", ": "))
        head = compact({"success": True, "data": {**before, "file_list": []}})
        write = sys.stdout.write
        write(head[: -len("]}}")])
        for number, item in enumerate(chain(first, rest)):
            write((",\n" if number else "\n") + compact(item))
        write("\n], " + compact(after())[1:] + "}\n")

    def print(self, sentence: str, style: str = "") -> None:
        """Print a sentence."""
        from rich.text import Text

        self.console.print(Text(sentence, style=style), soft_wrap=True)


@contextmanager
def command_context(as_json: bool, need: Callable[[Settings], object] | None = None) -> Iterator[CommandContext]:
    """Load settings, migrate the schema and open the log.

    Args:
        need: raises SettingsError if a setting is missing, before any server is asked.
    """
    from fm_pipeline.settings import load_settings

    settings = load_settings()
    if need:
        need(settings)

    from rich.console import Console

    from fm_pipeline.db.audit import operating_system_user
    from fm_pipeline.db.migrate import migrate
    from fm_pipeline.dicom.log import import_log

    migrate(settings.nexus_database_url.get_secret_value())
    with import_log(settings):
        yield CommandContext(settings, operating_system_user(), as_json, Console())


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """Create a table that fits into 80 columns if its texts do.

    Args:
        right: names of right-aligned columns.
    """
    from rich.table import Table

    made = Table(box=None, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def cells(*values: object) -> list[Text]:
    """Return values as plain text: a path may look like rich's markup."""
    from rich.text import Text

    return [Text("-" if value is None else str(value)) for value in values]
