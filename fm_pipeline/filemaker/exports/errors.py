"""The errors of export files."""

from __future__ import annotations

from fm_pipeline.errors import FileMakerError
from fm_pipeline.filemaker.errors import ChangedWhileReading


class ExportStop(FileMakerError):
    """An export file cannot be read as a whole, or contradicts itself. Nothing of it was taken."""


class CharacterSetUnknown(ExportStop):
    """The character set of a file cannot be told, or is not the one that was named."""


class ExportChanged(ChangedWhileReading):
    """The file was written to or replaced while it was read."""

    consequence = "It cannot be proved that every record was read once, so none was taken."
    next_step = "Start again when the file has been written or copied to its end."
