"""Which settings each command needs: what it asks for before any server is asked, when nothing else is set."""

from __future__ import annotations

import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from click.testing import CliRunner

from fm_pipeline.cli.main import main
from fm_pipeline.settings import ENV_FILE, Settings

# They start servers of their own, and read no setting.
SANDBOX = ("demo", "stack")
# Values with which a command ends before a server is asked. Without a value here any text will do.
REFUSED = {
    "NEXUS_DATABASE_URL": "mysql://nobody@127.0.0.1:1/nowhere",
    "FILEMAKER_URL": "http://127.0.0.1:1/fmi/data/v1",
    "ORTHANC_URL": "http://nobody@127.0.0.1:1",
}
# Words without which these do nothing.
WORDS = {
    "backup": ["--prune", "--keep", "1"],
    "dicom configure": ["--ftp-host", "ftp.example"],
    "dicom prune": ["--older-than-days", "1"],
    "restore": ["--dry-run", "a-backup"],
}


def needed_by(**way: str) -> dict[str, list[str]]:
    """Return the commands by the setting that they need, in the order of the commands.

    Args:
        way: settings that are set, for what is needed then.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for words, command in all_commands(main):
        if words.partition(" ")[0] not in SANDBOX:
            for name in _asked_for(words, command, way):
                found[name].append(words)
    return dict(found)


def in_words(needed: Sequence[str]) -> str:
    """Return commands as a list; those of a whole group by its name, and most of all by those that are left out."""
    every = [words for words, _ in all_commands(main)]
    if len(needed) > len(every) / 2:
        return f"all but {in_words([words for words in every if words not in needed])}"
    short = []
    for words in needed:
        group = words.partition(" ")[0]
        whole = all(each in needed for each in every if each.partition(" ")[0] == group)
        short.append(group if whole else words)
    return ", ".join(f"`{words}`" for words in dict.fromkeys(short))


def all_commands(group: click.Group, words: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that can be called, with its words as typed after `fm-pipeline`."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        typed = f"{words} {name}".strip()
        if isinstance(command, click.Group):
            yield from all_commands(command, typed)
        elif command is not None:
            yield typed, command


def _asked_for(words: str, command: click.Command, way: dict[str, str]) -> list[str]:
    asked: list[str] = []
    nothing: dict[str, str | None] = dict.fromkeys(["DAGSTER_HOME", *(name.upper() for name in Settings.model_fields)])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a-file")
        file.touch()
        typed = [*words.split(), *(WORDS.get(words) or _required(command, file))]
        while True:
            given = {name: REFUSED.get(name, "anything") for name in asked} | {"STATE_DIR": folder} | way
            done = CliRunner().invoke(main, typed, env=nothing | {ENV_FILE: os.devnull, "COLUMNS": "400"} | given)
            if done.exit_code == 2:
                raise RuntimeError(f"{typed}: {done.stderr}")
            more = [name for name in _missing(done.stderr) if name not in given]
            if not more:
                return asked
            asked += more


def _required(command: click.Command, file: Path) -> Iterator[str]:
    """Yield a value for each argument and option that must be given."""
    for parameter in command.params:
        if parameter.required:
            if isinstance(parameter, click.Option):
                yield parameter.opts[0]
            if isinstance(parameter.type, click.Path):
                yield str(file) if parameter.type.exists else str(file.with_name("new"))
            else:
                yield "1"


def _missing(said: str) -> list[str]:
    """Return the settings that a refusal says are not there."""
    sentence = said.partition("\n")[0]
    names = re.findall(r"[A-Z0-9_]+(?=: is missing)", sentence)
    if re.search(r"(is|are) not set\.$", sentence):
        names += [name for name in re.findall(r"[A-Z][A-Z0-9_]+", sentence) if name.lower() in Settings.model_fields]
    return names
