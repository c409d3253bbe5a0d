"""Validate the `.env` before settings are read from it: refuse lines that would be ignored or changed silently.

A line that cannot be parsed, or a misspelled name, would leave a setting at its default, and the default of
`NEXUS_LETTERS` deletes. A password of which the parser replaces a part locks an account after some attempts.

Dagster reads the same file with the same library, python-dotenv, before this code runs. So a value cannot be parsed
differently here; it can only be refused. Source: python-dotenv, `parser.py` and `variables.py`.
"""

from __future__ import annotations

import io
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from dotenv.parser import Binding, parse_stream
from dotenv.variables import Variable, parse_variables

from fm_pipeline.errors import SettingsError

NAMED_FILE = "FM_PIPELINE_ENV_FILE"
_MARK = "fm_pipeline/env_file.py"  # what a checkout has
# Above the similarity of other programs' names (AWS_DEFAULT_REGION and AWS_REGION: 0.71), and below that of one or two
# wrong letters or a shortened word (SMTP_PASS for SMTP_PASSWORD: 0.82).
_ALIKE = 0.8


def find_env_file() -> Path:
    """Return the `.env` of the current folder, or in a subfolder of a checkout that of the checkout.

    Another project's `.env` above the current folder is not taken: it may have settings of the same names.

    Returns:
        A relative path for the current folder, whether the file exists or not; an absolute path for the checkout.
    """
    here = Path(".env")
    if not os.path.exists(here):
        for folder in _folders_above():
            if (folder / _MARK).is_file():
                return folder / here if os.path.exists(folder / here) else here
    return here


def where_looked_for() -> str:
    """Return, for the remedy of an error, which file settings were looked for in, and where one is if not there."""
    try:
        place = Path(os.path.abspath(os.environ.get(NAMED_FILE) or find_env_file()))
    except OSError:  # somebody has deleted the current folder
        return "the current folder is gone"
    said = f"{place} was read"
    if not os.path.exists(place):
        above = [folder for folder in place.parent.parents if os.path.isfile(folder / ".env")]
        said = f"{place} is not there" + (f"; {above[0] / '.env'} is: change to its folder" if above else "")
    return said.encode("utf-8", "backslashreplace").decode()  # of a name that is not in UTF-8


def _folders_above() -> Sequence[Path]:
    try:
        return Path.cwd().parents
    except OSError:  # somebody has deleted the current folder
        return ()


def validate_env_file(file: Path, names: Collection[str]) -> None:
    """Refuse a file with lines that would be ignored or changed silently.

    Args:
        file: it need not exist.
        names: of all settings, in upper case.

    Raises:
        SettingsError: names the file, without its folder, and lines or names; never a value.
    """
    try:
        if not file.is_file():
            return
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(
            f"{file.name} is not in UTF-8.", remedy="Save it in UTF-8; editors call others ANSI, Unicode or UTF-16."
        ) from None
    except OSError as error:
        raise SettingsError(
            f"{file.name} cannot be read ({error.strerror or type(error).__name__}).",
            remedy="Let the user of the pipeline read it.",
        ) from None
    bindings = list(parse_stream(io.StringIO(text)))
    if wrong := [_line(binding) for binding in bindings if binding.error or _is_no_assignment(binding)]:
        raise SettingsError(
            f"{file.name} has lines that cannot be read: {', '.join(map(str, wrong))}.",
            remedy="Write NAME=value, close each quote, and begin a comment with #.",
        )
    for binding in bindings:
        name = (binding.key or "").upper()
        if name and name not in names and (meant := get_close_matches(name, names, n=1, cutoff=_ALIKE)):
            raise SettingsError(
                f"{file.name} sets {name}, which is no setting; {meant[0]} is one.",
                remedy="Correct the name, or put # before the line; .env.example lists all settings.",
            )
    if faults := list(_changed_in_silence([each for each in bindings if (each.key or "").upper() in names])):
        raise SettingsError(
            f"{file.name} has values that would not be read as they are written: {'; '.join(faults)}.",
            meaning="A password would be sent without the part that was left out or replaced.",
            remedy="Correct these lines. In single quotes every character stands for itself but a quote, a backslash"
            " and ${; a comment belongs on a line of its own.",
        )


def env_line(name: str, value: str) -> str:
    """Return a line of a `.env` that python-dotenv, Dagster and a shell parse alike.

    Raises:
        SettingsError: there is no such line for this value; names the setting.
    """
    if re.fullmatch(r"[\w@%+=:,./-]+", value, re.ASCII):
        return f"{name}={value}"
    if not value.isprintable() or "${" in value or "'" in value or "\\" in value:
        raise SettingsError(
            f"The value of {name} cannot be written into a .env file.",
            meaning="It holds a quote, a backslash, ${ or a line break, which programs read in different ways.",
            remedy="Choose a value, for example a folder's name, without them.",
        )
    return f"{name}='{value}'"


# From the equal sign on, with the spaces behind it.
_WRITTEN = re.compile(r"[^=]*=(.*)", re.DOTALL)
_LINE_END = re.compile(r"\r\n|\n|\r")
# A value in quotes, what stands between them, and what follows.
_QUOTED = re.compile(r"""\s*(["'])((?:\\.|(?!\1).)*)\1(.?)""", re.DOTALL)
# Of the escapes that python-dotenv knows, those that leave less than was written and that a shell leaves as they are.
_SHORTENED = {"'": {"\\\\", "\\'"}, '"': {"\\'"}}


def _line(binding: Binding) -> int:
    """Return the line of its name; a binding starts with the empty lines before it."""
    text = binding.original.string
    before = text[: len(text) - len(text.lstrip())]
    return binding.original.line + len(_LINE_END.findall(before))


def _is_no_assignment(binding: Binding) -> bool:
    """Whether it is a single word, most likely the second half of a value. (`export NAME` has no effect.)"""
    return (
        binding.key is not None and binding.value is None and not binding.original.string.lstrip().startswith("export")
    )


def _changed_in_silence(bindings: Sequence[Binding]) -> Iterator[str]:
    """Yield the values that python-dotenv would change, by line and name."""
    lines: dict[str, list[int]] = defaultdict(list)
    for binding in bindings:
        name = (binding.key or "").upper()
        lines[name].append(_line(binding))
        if why := _change(binding):
            yield f"line {_line(binding)}, {name}: {why}"
    for name, several in lines.items():
        if len(several) > 1:
            yield f"lines {', '.join(map(str, several))}, {name}: it is set more than once"


def _change(binding: Binding) -> str:
    """Return why a value would be changed; empty if it would not."""
    if binding.value is None:
        return "it has no ="
    if any(isinstance(atom, Variable) for atom in parse_variables(binding.value)):
        return "${…} would be replaced by another variable's value, in quotes too"
    found = _WRITTEN.match(binding.original.string)
    written = found.group(1).rstrip() if found else ""
    if quoted := _QUOTED.match(written):
        return _change_in_quotes(quoted, binding.value)
    return _comment(written)


def _comment(written: str) -> str:
    """A value without quotes ends before the first # that follows a space."""
    return "what follows the # would be left out, because the value has no quotes" if re.search(r"\s#", written) else ""


def _change_in_quotes(quoted: re.Match[str], value: str) -> str:
    quote, inside, next_character = quoted.groups()
    if next_character == "#":
        return "what follows the # would be left out; a comment begins with a space"
    if not value.isprintable():
        return "between its quotes is a line break, or a backslash that would become one"
    return "a backslash would be left out" if _SHORTENED[quote] & set(re.findall(r"\\.", inside)) else ""
