"""What callers of this package may choose from. It imports nothing, so that help and wrong usage are shown at once."""

from __future__ import annotations

from typing import Final, Literal

BATCH_SIZE = 20  # images in a transaction of Nexus; a killed run loses at most the downloads of one batch

DisagreementKind = Literal[
    "mark_without_file", "mark_without_row", "file_without_mark", "row_without_file", "removed_in_nexus"
]
DISAGREEMENTS: Final[dict[DisagreementKind, str]] = {
    "mark_without_file": "FileMaker has the mark, and there is no file: the image would never be imported.",
    "mark_without_row": "FileMaker has the mark, the bulk dump has the file, and Nexus has no row.",
    "file_without_mark": "Nexus has the image with its file, and FileMaker has no mark.",
    "row_without_file": "Nexus has the image, and S3 has no file under its key.",
    "removed_in_nexus": "The image was imported, and Nexus has it no more: somebody has removed it there.",
}
REPAIRS: Final[dict[DisagreementKind, str]] = {
    "mark_without_file": "the mark is removed, so that the next import imports the image",
    "file_without_mark": "the mark is set",
    "row_without_file": "the best container is stored at the key that the row names",
    "removed_in_nexus": "the mark is removed, so that the next import imports the image again",
}
REPAIRED_BY: Final = "fm-pipeline images link"  # what repairs mark_without_row
