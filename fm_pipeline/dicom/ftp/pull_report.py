"""The result of a pull."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fm_pipeline.dicom.scan.excluded_folders import REASON as EXCLUDED_FOLDER

# Reasons for skipping a name that do not mean that a file is missing here.
_NOT_MISSING = frozenset({"link_or_special", "unfinished_name", "listed_twice", EXCLUDED_FOLDER})


@dataclass
class PullReport:
    """The result of a pull. listed = pulled + known + the sum of skipped.

    Attributes:
        known: files that were pulled earlier, with the same size and time.
        known_by_size: those for which the server tells no time, so that another file of the size is not noticed.
        kept: earlier files that got another name here, because a later file took their name.
        resumed: pulled files that continued from a partial file.
        skipped: the number of names by reason.
        unlisted_folders: folders that could not be listed, or whose listing could not be parsed. Their content is not
            in `listed`.
        folders_without_dot_files: folders whose listing may omit names that begin with a dot.
    """

    listed: int = 0
    pulled: int = 0
    known: int = 0
    known_by_size: int = 0
    kept: int = 0
    resumed: int = 0
    bytes: int = 0
    unlisted_folders: int = 0
    folders_without_dot_files: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def complete(self) -> bool:
        """Whether everything on the server is here."""
        return not self.skipped and not self.unlisted_folders

    @property
    def missing(self) -> bool:
        """Whether a file that should be here is missing. Links and unfinished names do not count."""
        return bool(self.unlisted_folders or self.skipped.keys() - _NOT_MISSING)
