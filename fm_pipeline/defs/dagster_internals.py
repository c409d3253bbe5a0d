"""What is private in Dagster and is needed here: nowhere else is a module `dagster._…` imported.

A test asks for each name, so that a release of Dagster that moves one is noticed before it is installed. What has a
public name is taken from `dagster`, as `dg.DagsterExecutionInterruptedError`.

- `LaunchRunContext`, `CheckRunHealthResult`, `WorkerStatus`: the argument of a run launcher, and its answers to run
  monitoring. `dg.DefaultRunLauncher` is public, the types of its methods are not.
- `CapturedLogContext`, `ComputeIOType`: where the output of a run goes, and whether it is standard output or error.
- `BACKFILL_ID_TAG` and the other tags: how a run says which run or backfill it repeats, and who launched it. Runs that
  Dagster has kept have them, so their values must not change either.
- `DagsterUserCodeProcessError`, `SerializableErrorInfo`: an error of a run whose text Dagster takes as it is, without
  the stack of the code that raised it.
- `WorkspaceProcessContext`, `WorkspaceRequestContext`, `WorkspaceFileTarget`: what a web server knows of the code
  locations, and what one request may do. `create_request_context` is the declared hook (`IWorkspaceProcessContext`).

Four private names are written as text: in a configuration, two commands and a filter of output
(`sandbox/stack/dagster.py`, `serve/parts.py`, `sandbox/demo/run.py`). The same test asks for them.
"""

from dagster._core.errors import DagsterUserCodeProcessError
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.tags import (
    BACKFILL_ID_TAG,
    GRPC_INFO_TAG,
    PARENT_BACKFILL_ID_TAG,
    PARENT_RUN_ID_TAG,
    RETRY_NUMBER_TAG,
    RUN_KEY_TAG,
    SCHEDULE_NAME_TAG,
    SENSOR_NAME_TAG,
)
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_shared.error import SerializableErrorInfo

__all__ = [
    "BACKFILL_ID_TAG",
    "GRPC_INFO_TAG",
    "PARENT_BACKFILL_ID_TAG",
    "PARENT_RUN_ID_TAG",
    "RETRY_NUMBER_TAG",
    "RUN_KEY_TAG",
    "SCHEDULE_NAME_TAG",
    "SENSOR_NAME_TAG",
    "CapturedLogContext",
    "CheckRunHealthResult",
    "ComputeIOType",
    "DagsterUserCodeProcessError",
    "LaunchRunContext",
    "SerializableErrorInfo",
    "WorkerStatus",
    "WorkspaceFileTarget",
    "WorkspaceProcessContext",
    "WorkspaceRequestContext",
]
