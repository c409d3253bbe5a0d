"""What callers of this package may choose from. It imports nothing, so that help and wrong usage are shown at once."""

from __future__ import annotations

from typing import Literal

JobType = Literal["initial", "incremental", "manual"]
JobStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
JOB_TYPES: tuple[JobType, ...] = ("initial", "incremental", "manual")
JOB_STATUSES: tuple[JobStatus, ...] = ("pending", "running", "completed", "failed", "cancelled")

# Rows on a page at most
LONGEST_JOB_PAGE = 100
LONGEST_HISTORY_PAGE = 1000

THREADS = 4  # more gained nothing on the Orthanc that was measured
