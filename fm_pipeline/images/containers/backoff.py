"""Decide when to continue, pause or stop. In the field, retries made an overloaded FileMaker Server worse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fm_pipeline.errors import DatabaseError, FileMakerError, MappingError, PipelineError, SettingsError, Stop
from fm_pipeline.filemaker import errors as fm

LONGEST_PAUSE: Final = 900.0  # seconds

# The next record would fail as well: the run ends at once.
_PERMANENT = (
    *(fm.WrongPassword, fm.AccountLocked, fm.PrivilegeMissing, fm.TokenInvalid, fm.DatabaseNotOpen),
    *(fm.LayoutMissing, fm.FieldMissing, fm.DataApiOff, fm.CertificateRefused, fm.ContainerElsewhere),
    *(fm.RequestRefused, fm.ServerTooOld, DatabaseError, SettingsError, MappingError, Stop),
)
_OVERLOADED = (fm.ServerUnavailable, fm.ServerTimeout, fm.ServerBusy, fm.NotTheDataApi, fm.ContainerExpired)


class TooManyFailures(FileMakerError):
    """Too many consecutive failures: the cause is not a single record."""


class Backoff:
    """Counts failures in a row.

    Args:
        first_pause: seconds after the first failure of the server; doubled by each further one in a row.
        failures: in a row, with which the run ends.
        sleep: pauses.
        on_message: takes a sentence about a pause.
    """

    def __init__(
        self, first_pause: float, failures: int, *, sleep: Callable[[float], None], on_message: Callable[[str], object]
    ) -> None:
        self._first_pause = first_pause
        self._most = failures
        self._sleep = sleep
        self._on_message = on_message
        self._in_a_row = 0

    def record_success(self) -> None:
        """Reset the count."""
        self._in_a_row = 0

    def record_failure(self, error: PipelineError | None = None) -> None:
        """Count a failed record, and pause if the server is overloaded.

        Args:
            error: None if only the record is to blame.

        Raises:
            TooManyFailures: the limit of consecutive failures is reached.
            PipelineError: the error itself, if every further record would fail as well.
        """
        if isinstance(error, _PERMANENT):
            raise error
        self._in_a_row += 1
        if self._in_a_row >= self._most:
            raise TooManyFailures(
                f"{self._in_a_row} records in a row failed" + (f", the last one so: {error.what}" if error else "."),
                meaning="The import stopped, so that FileMaker Server is not made worse; what is done stays done.",
                remedy=(error.remedy if error else "")
                or "Look at the reasons in the report, then start again: it goes on where it stopped.",
            )
        if isinstance(error, _OVERLOADED):
            pause = min(LONGEST_PAUSE, self._first_pause * 2 ** (self._in_a_row - 1))
            self._on_message(f"FileMaker Server does not send files; the next try is in {pause:g} seconds.")
            self._sleep(pause)
