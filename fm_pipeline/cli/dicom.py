"""`fm-pipeline dicom`: the group. Its commands are the modules of `_dicom`."""

from __future__ import annotations

import click

from fm_pipeline.cli._shared.lazy_group import LazyGroup


@click.group(cls=LazyGroup, package="fm_pipeline.cli._dicom", name="dicom")
def command() -> None:
    """Bring DICOM files of hospital directories into Orthanc, and watch what happens to them."""
