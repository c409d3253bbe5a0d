"""How many records to ask for at once: fewer after a time-out, and after an answer that cannot be read."""

from __future__ import annotations

from fm_pipeline.filemaker.errors import AnswerTooLarge, ServerTimeout, UnreadableAnswer

SMALLEST_PAGE = 25  # if 25 records time out, their number is not the problem
TRIES_OF_SMALLEST_PAGE = 2

TOO_MUCH = (ServerTimeout, AnswerTooLarge, UnreadableAnswer)
"""Errors after which fewer records may come."""


class PageSize:
    """The number of records to ask for. An answer that cannot be read is narrowed down to one record.

    Args:
        records: to begin with.
    """

    def __init__(self, records: int) -> None:
        self.records = records
        self._tries_left = TRIES_OF_SMALLEST_PAGE

    def reduce(self, error: ServerTimeout | AnswerTooLarge | UnreadableAnswer) -> None:
        """Take about half; raise the error if that cannot help."""
        if isinstance(error, UnreadableAnswer):
            if self.records == 1:
                raise error
            self.records //= 2
            return
        if self.records <= SMALLEST_PAGE:
            self._tries_left -= 1
            if self._tries_left == 0:
                raise error
        self.records = max(self.records // 2, min(self.records, SMALLEST_PAGE))
