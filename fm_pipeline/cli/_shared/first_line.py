"""The first line of a command that connects to servers before it can show progress."""

from __future__ import annotations

import sys

import click


def say_at_once(words: str) -> None:
    """Print the words to standard error if it is a terminal. Loading modules and connecting take seconds."""
    if sys.stderr.isatty():
        click.echo(words, err=True)
