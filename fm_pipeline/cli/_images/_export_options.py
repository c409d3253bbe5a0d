"""What the commands that read an export of images have in common."""

from __future__ import annotations

from pathlib import Path

import click

from fm_pipeline.filemaker.exports.encoding import ENCODINGS
from fm_pipeline.images.exports.columns import POSITIONS

EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
encoding_option = click.option(
    "--encoding", type=click.Choice(ENCODINGS), help="The export's encoding.  [default: found out]"
)
columns_option = click.option(
    "--columns", help=f"Names of the columns of an export without a header.  [default: {','.join(POSITIONS)}]"
)
ignore_file_names_option = click.option(
    "--ignore-file-names",
    is_flag=True,
    help="The export's fileName is not the name of the file in the bulk dump: do not compare them.",
)
