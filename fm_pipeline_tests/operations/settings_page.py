"""The page `docs/settings.md`: every setting with its type and default, and its comment in .env.example.

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

PAGE = TOP / "docs" / "settings.md"
HEAD = """# Settings

Every setting of the pipeline. `scripts/settings` writes this page from the types in `fm_pipeline/settings.py` and the
comments in `.env.example`; a test compares them.

- **Where they are read.** From the environment, and for what it does not say from the file `.env` in the current
  folder, or from the file that `FM_PIPELINE_ENV_FILE` names. The environment wins.
- **When.** A command reads them when it starts, a run of Dagster when the run starts.
- **Which are needed.** All need `NEXUS_DATABASE_URL`. The others are asked for only by what uses them
  ([commands.md](commands.md)). `fm-pipeline check` looks at all of them.
- **Wrong ones.** A value of another type or out of range, a misspelled name and a line that programs would read in
  different ways are refused by name; the value is not repeated.
"""
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
    lines = [HEAD]
    for heading, names in _groups(example):
        title, _, more = heading.partition(". ")
        lines += [f"## {title.rstrip('.')}", "", *([more, ""] if more else [])]
        lines += ["| setting | type | default | meaning |", "|---|---|---|---|"]
        for name, meaning in names:
            field = Settings.model_fields[name.lower()]
            cells = (f"`{name}`", _type(field), _default(field), meaning.replace("|", "\\|"))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


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
