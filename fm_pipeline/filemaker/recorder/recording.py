"""A recording as a file: what is in it, how it is written and read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic import Field as Limited

from fm_pipeline.errors import FileMakerError

FORMAT: Literal[1] = 1
LARGEST_RECORDING = 1 << 24  # bytes; a large file's has a hundredth of it
MOST_ROWS = 10  # that a recording tells apart; a larger table is recorded as one with so many

Word = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f\u0080-\u009f]*$", max_length=4000)]
"""Text that may be printed."""
_SHORT_LIST = re.compile(r'\[\n *"[^"\\\n]*"(?:,\n *"[^"\\\n]*")*\n *\]')
_LINE = re.compile(r"\n *")

RecordedDoor = Literal["data_api", "odata"]


class RecordingUnreadable(FileMakerError):
    """A file is no recording, or one of another version."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Exchange(_Part):
    """A request and its answer.

    Attributes:
        request: verb, fixed parts of the path, names of options; `{}` in place of names.
        code: FileMaker's, if the answer has one.
        headers: names, and values that say nothing about the clinic.
        shape: see `shapes`; None if the body was not read.
    """

    request: Word
    status: int
    code: int | None
    milliseconds: int
    headers: dict[Word, Word]
    shape: dict[Word, list[Word]] | None


class RecordedStep(_Part):
    """What was asked, and what the client of the pipeline made of it.

    Attributes:
        client: `ok`, the class of its error, or `not used` for a request that it never sends.
    """

    door: RecordedDoor
    step: Word
    table: Word
    client: Word
    exchanges: list[Exchange]


class RecordedField(_Part):
    """A field of a layout or table occurrence, as the server describes it."""

    name: Word
    kind: Word
    result: Word
    repetitions: int = Limited(ge=1, le=32_000)


class RecordedTable(_Part):
    """A layout or a table occurrence. `rows` is the number of its records, at most `MOST_ROWS`."""

    door: RecordedDoor
    name: Word
    rows: int = Limited(ge=0, le=MOST_ROWS)
    fields: list[RecordedField] = Limited(max_length=10_000)


class Recording(_Part):
    """All that was asked."""

    format: Literal[1] = FORMAT
    version: Word  # of the server, if it says so
    names_kept: bool
    tables: list[RecordedTable] = Limited(max_length=100)
    steps: list[RecordedStep] = Limited(max_length=200)

    def exchanges(self) -> Iterator[Exchange]:
        """Yield all requests in order."""
        for step in self.steps:
            yield from step.exchanges

    def text(self) -> str:
        """Return the content of the file: JSON with short lists on one line, so that a person can read it."""
        return _SHORT_LIST.sub(lambda found: _LINE.sub(" ", found[0]), self.model_dump_json(indent=1)) + "\n"


def load_recording(path: Path) -> Recording:
    """Read a recording, and check every part of it.

    Raises:
        RecordingUnreadable: it is none.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_RECORDING + 1)
        if len(content) > LARGEST_RECORDING:
            raise ValueError
        return Recording.model_validate_json(content)
    except (OSError, ValueError, RecursionError):
        raise RecordingUnreadable(
            "The file cannot be read as a recording.",
            meaning="It is not there, is damaged, or was made by another version of the pipeline.",
            remedy="Make one with: fm-pipeline filemaker record --out FILE",
        ) from None
