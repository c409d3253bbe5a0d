"""The blocks of commands on the project's pages, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import click

from fm_pipeline.cli.main import main
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP
from fm_pipeline.settings import Settings

PAGES = sorted(path.relative_to(TOP).as_posix() for path in [*TOP.glob("*.md"), *(TOP / "docs").glob("*.md")])
_BLOCK = re.compile(
    r"(?:<!-- not run in tests: ([^\n]+) -->\n)?^([ ]*)```(\w*)\n(.*?)^[ ]*```$", re.DOTALL | re.MULTILINE
)
_INLINE = re.compile(r"`((?:fm-pipeline|scripts/)[^`]+)`")
_SETTING = re.compile(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`")
_OURS = ("fm-pipeline", ".venv/bin/fm-pipeline", "/opt/fm-pipeline/.venv/bin/fm-pipeline")
_ASSIGNMENT = re.compile(r"^([A-Z_]+)=(.*)$", re.DOTALL)


class Block(NamedTuple):
    """A block of a page.

    Attributes:
        language: as the page has it; `sh` for commands.
        reason: why no test runs it; empty if one does.
    """

    page: str
    language: str
    text: str
    reason: str

    @property
    def first(self) -> str:
        """The first line, by which a test names a block."""
        return self.text.splitlines()[0]


def blocks(page: str, heading: str = "") -> list[Block]:
    """The blocks of a page, or of one section of it."""
    text = (TOP / page).read_text("utf-8")
    if heading:
        section = re.split(rf"^##+ {re.escape(heading)}$", text, flags=re.MULTILINE)[1]
        text = re.split(r"^##+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    return [
        Block(page, language, "\n".join(line.removeprefix(indent) for line in inside.splitlines()) + "\n", reason)
        for reason, indent, language, inside in _BLOCK.findall(text)
    ]


def inline_commands(page: str) -> list[str]:
    """Commands of this project in the running text of a page."""
    return [" ".join(command.split()) for command in _INLINE.findall((TOP / page).read_text("utf-8"))]


def unknown_settings(page: str) -> set[str]:
    """Names in the running text of a page that look like settings and are none, nor any other name of the project."""
    return {name for name in _SETTING.findall((TOP / page).read_text("utf-8")) if not _is_known(name)}


def _is_known(name: str) -> bool:
    return name.lower() in Settings.model_fields or name in _capitals()


@cache
def _capitals() -> frozenset[str]:
    """All names in capital letters in what is no page: variables of the environment, arguments of commands."""
    paths = [path for part in ("fm_pipeline", "scripts", "deploy", ".ci") for path in (TOP / part).rglob("*")]
    files = [path for path in paths if path.is_file() and path.suffix not in {".pyc", ".png"}]
    return frozenset(re.findall(r"[A-Z][A-Z0-9_]+", "\n".join(each.read_text("utf-8", "replace") for each in files)))


def commands(text: str) -> Iterator[list[str]]:
    """The single commands of a block, in words."""
    for line in text.replace("\\\n", " ").splitlines():
        command: list[str] = []
        for word in _words(line):
            if word in {"&&", "|", ";", "(", ")", ">"}:
                yield command
                command = []
            else:
                command.append(word)
        yield command


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.wordchars += "$…=,:@%{}[]+"
    return list(lexer)


def fault(words: Sequence[str], *, whole: bool = True) -> str:
    """What is wrong with a command of this project, or with the names of its variables; empty if nothing is.

    Args:
        whole: every argument that must be given is given, as in a block and unlike in running text.
    """
    words = [word for word in words if word]
    while words and (words[0] in {"sudo", "export", "unset"} or words[0].startswith(("--preserve-env", "-u"))):
        words = words[2:] if words[0] == "-u" else words[1:]
    while words and (assigned := _ASSIGNMENT.match(words[0])):
        if not _is_known(assigned[1]):
            return f"{assigned[1]} is no setting"
        words = words[1:]
    if not words:
        return ""
    program, *arguments = words
    if program in {*_OURS, "scripts/demo"}:
        return _fault_of_arguments([*(["demo"] if program == "scripts/demo" else []), *arguments], whole=whole)
    if program.startswith("scripts/"):
        return "" if (TOP / program).is_file() else f"there is no {program}"
    if program == "python" and arguments[0].startswith("benchmarks/"):
        source = (TOP / arguments[0]).read_text("utf-8")
        if "= options(" in source:
            source += (TOP / "benchmarks" / "results.py").read_text("utf-8")  # the options that benchmarks share
        missing = [word for word in arguments if word.startswith("--") and f'"{word}"' not in source]
        return f"{arguments[0]} has no {', '.join(missing)}" if missing else ""
    return ""


def _fault_of_arguments(arguments: Sequence[str], *, whole: bool) -> str:
    command: click.Command = main
    context = click.Context(main, info_name="fm-pipeline")
    left = list(arguments)
    while isinstance(command, click.Group) and left and not left[0].startswith("-"):
        found = command.get_command(context, left[0])
        if found is None:
            return f"there is no command {left[0]}"
        command, context = found, click.Context(found, parent=context, info_name=left.pop(0))
    if isinstance(command, click.Group) or left == ["--help"]:
        return ""
    try:
        command.make_context(command.name, left, parent=context.parent)
    except (click.MissingParameter, click.BadOptionUsage) as error:
        return error.format_message() if whole else ""
    except click.BadParameter:  # ID, N and … stand for a value
        return ""
    except click.UsageError as error:
        return error.format_message()
    return ""
