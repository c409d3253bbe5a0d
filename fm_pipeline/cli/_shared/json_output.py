"""The option `--json`. With it, an error is JSON on standard output too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

_GIVEN = f"{__name__}.given"


def json_option(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option, which the command gets as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=help_text, callback=_note)


def _note(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    ctx.meta[_GIVEN] = value  # which the contexts of all groups share
    return value


def is_json_wanted(ctx: click.Context) -> bool:
    """Return whether `--json` was given to the command that runs, or ran, below this context."""
    return bool(ctx.meta.get(_GIVEN))


def error_json(code: int, message: str, meaning: str, remedy: str) -> str:
    """Return an error in the format of the hospital's own system.

    Args:
        code: an HTTP status.
    """
    error = {"code": code, "message": message, "meaning": meaning, "remedy": remedy}
    return json.dumps({"success": False, "error": error}, indent=2)
