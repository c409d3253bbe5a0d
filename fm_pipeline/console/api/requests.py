"""What the calls take: bodies and query parameters, with their limits and defaults. Nothing is converted."""

from __future__ import annotations

from typing import Annotated

from ninja import Schema
from pydantic import ConfigDict, Field

from fm_pipeline.dicom.api.batches import LARGEST_BATCH
from fm_pipeline.dicom.api.response_data import HistoryStatus
from fm_pipeline.dicom.choices import LONGEST_HISTORY_PAGE, LONGEST_JOB_PAGE, JobStatus, JobType
from fm_pipeline.dicom.configuration.configuration import DAY, SHORTEST_INTERVAL
from fm_pipeline.dicom.model import Outcome

_BIGGEST = 2**63 - 1
JobNumber = Annotated[int, Field(ge=1, le=_BIGGEST, description="Number of an import job.")]
Offset = Annotated[int, Field(ge=0, le=_BIGGEST, description="How many of the newest to pass over.")]
DirectoryPath = Annotated[str, Field(min_length=1, max_length=4096, description="Below one of DICOM_ALLOWED_ROOTS.")]


class Body(Schema):
    """A body of a request. `"1"` is no number."""

    model_config = ConfigDict(strict=True)


class DirectoryBody(Body):
    """Calls 1 and 10."""

    path: DirectoryPath


class StartBody(Body):
    """Call 2."""

    source_path: DirectoryPath
    job_type: JobType = "manual"


class ProcessBody(Body):
    """Call 3."""

    job_id: JobNumber
    batch_size: int = Field(default=100, ge=1, le=LARGEST_BATCH, description="The most files of this call.")


class ConfigureBody(Body):
    """Call 5. What is left out stays as it is."""

    hospital_data_path: DirectoryPath
    monitoring_enabled: bool | None = None
    monitoring_interval: int | None = Field(default=None, ge=SHORTEST_INTERVAL, le=DAY, description="Seconds.")


class CancelBody(Body):
    """Call 8."""

    job_id: JobNumber


class HistoryQuery(Schema):
    """Call 6."""

    limit: int = Field(default=50, ge=1, le=LONGEST_HISTORY_PAGE)
    offset: Offset = 0
    job_id: JobNumber | None = None
    status: HistoryStatus | None = None
    outcome: Outcome | None = Field(default=None, description="More precise than `status`: one of the eight outcomes.")


class JobsQuery(Schema):
    """Call 9."""

    limit: int = Field(default=20, ge=1, le=LONGEST_JOB_PAGE)
    offset: Offset = 0
    status: JobStatus | None = None
    job_type: JobType | None = None
