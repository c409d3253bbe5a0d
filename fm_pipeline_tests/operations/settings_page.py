"""The page `docs/settings.md`: every setting with its type, default, the commands that need it, and its comment.

`scripts/settings` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP
from fm_pipeline.settings import Settings
from fm_pipeline_tests.operations.needed_settings import in_words, needed_by

PAGE = TOP / "docs" / "settings.md"
HEAD = """# Settings

Every setting of the pipeline. `scripts/settings` writes this page from the types in `fm_pipeline/settings.py`, the
comments in `.env.example`, and what the commands ask for; a test compares them.

- **Where they are read.** Settings come from the environment. A setting that is missing there comes from the file
  `.env` in the current folder, or from the file that `FM_PIPELINE_ENV_FILE` names. In a subfolder of a checkout without
  a `.env`, the checkout's is read; relative paths in it are then relative to the checkout.
- **When.** A command reads them when it starts, a run of Dagster when the run starts. Under `dagster dev`, press
  *Reload* after a change in `.env` ([README.md](../README.md#the-dagster-ui-without-the-console)).
- **Which are needed.** A command that lacks a setting names it before it asks any server. The column *needed by* lists
  these commands. A [job of Dagster](commands.md#dagsters-jobs) needs what the command for the same work needs.
  `fm-pipeline check` looks at all settings.
- **Empty ones.** An empty setting that has no default counts as not set. An empty setting that has a default is
  refused.
- **Wrong ones.** The following are refused. The error names the setting and does not repeat its value:
  - a value of the wrong type or out of range;
  - an unknown name;
  - a line that other programs would read differently, for example a password without quotes in which a `#` follows a
    space.
"""
EXPORTS = {"FILEMAKER_DOOR": "exports"}
WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`True` or `False`",
    Path: "path",
    SecretStr: "secret",
}


def settings_page(example: str) -> str:
    """Return the whole page.

    Args:
        example: the content of .env.example, which has a comment above each setting and a heading above each group.
    """
    lines, needs = [HEAD], _needs()
    for heading, names in _groups(example):
        title, _, more = heading.partition(". ")
        lines += [f"## {title.rstrip('.')}", "", *([more, ""] if more else [])]
        columns = ["setting", "type", "default", "meaning"]
        if any(name in needs for name, _ in names):
            columns.insert(3, "needed by")
        lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for name, meaning in names:
            field = Settings.model_fields[name.lower()]
            cells = {"setting": f"`{name}`", "type": _type(field), "default": _default(field)}
            cells |= {"needed by": needs.get(name, ""), "meaning": meaning.replace("|", "\\|")}
            lines.append(f"| {' | '.join(cells[column] for column in columns)} |")
        lines.append("")
    return "\n".join(lines)


def _needs() -> dict[str, str]:
    """Return, by setting, the commands that need it."""
    needs = {name: in_words(commands) for name, commands in needed_by().items()}
    for name, commands in needed_by(**EXPORTS).items():
        needs.setdefault(name, f"{in_words(commands)}, with `FILEMAKER_DOOR=exports`")
    return needs


def _groups(example: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each group's heading, and its settings with their comments."""
    for block in re.split(r"\n\n+", example.strip())[1:]:
        first, *rest = block.splitlines()
        names, comment = [], []
        for line in rest:
            if line.startswith("#"):
                comment.append(line.removeprefix("#").strip())
            else:
                names.append((line.partition("=")[0], " ".join(comment)))
                comment = []
        yield first.removeprefix("#").strip(), names


def _type(field: FieldInfo) -> str:
    kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not NoneType]
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{each}`" for each in kinds)
    bounds = [text for each in field.metadata if (text := _bound(each))]
    return ", ".join([WORDS[kinds[0]], *bounds])


def _bound(rule: Any) -> str:
    """One bound in words; nothing for other rules, such as a check of our own."""
    match rule:
        case Gt(gt=least):
            return f"above {least:,}"
        case Ge(ge=least):
            return f"at least {least:,}"
        case Le(le=most):
            return f"at most {most:,}"
        case MinLen():
            return "not empty"
        case _:
            return ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**must be set**"
    return "" if field.default is None else f"`{field.default}`"


if __name__ == "__main__":
    PAGE.write_text(settings_page((TOP / ".env.example").read_text("utf-8")), "utf-8")
