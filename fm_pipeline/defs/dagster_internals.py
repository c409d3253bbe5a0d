"""What is private in Dagster and is needed here: nowhere else is a module `dagster._…` imported.

A test asks for each name, so that a release of Dagster that moves one is noticed before it is installed.

- `CheckRunHealthResult`, `WorkerStatus`: the answers of a run launcher to run monitoring.
- `BACKFILL_ID_TAG` and the other tags: how a run says which run or backfill it repeats, and who launched it.
"""

from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG, GRPC_INFO_TAG, PARENT_BACKFILL_ID_TAG, PARENT_RUN_ID_TAG

__all__ = [
    "BACKFILL_ID_TAG",
    "GRPC_INFO_TAG",
    "PARENT_BACKFILL_ID_TAG",
    "PARENT_RUN_ID_TAG",
    "CheckRunHealthResult",
    "WorkerStatus",
]
