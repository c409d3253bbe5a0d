"""`fm-pipeline images`: the group. Its commands are the modules of `_images`."""

from __future__ import annotations

import click

from fm_pipeline.cli._shared.lazy_group import LazyGroup


@click.group(cls=LazyGroup, package="fm_pipeline.cli._images", name="images")
def command() -> None:
    """Images: linked from the bulk dump, or imported from FileMaker's containers."""
