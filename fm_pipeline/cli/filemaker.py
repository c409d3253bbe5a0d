"""`fm-pipeline filemaker`: the group. Its commands are the modules of `_filemaker`."""

from __future__ import annotations

import click

from fm_pipeline.cli._shared.lazy_group import LazyGroup


@click.group(cls=LazyGroup, package="fm_pipeline.cli._filemaker", name="filemaker")
def command() -> None:
    """Record how a FileMaker Server answers, and compare it with the stand-in."""
