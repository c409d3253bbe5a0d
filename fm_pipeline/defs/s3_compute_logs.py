"""What runs print, in S3, for several hosts (named in deploy/celery/dagster.yaml; see docs/scaling.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster_aws.s3.compute_log_manager import S3ComputeLogManager

from fm_pipeline.defs.dagster_internals import CapturedLogContext, ComputeIOType
from fm_pipeline.settings import load_settings
from fm_pipeline.storage.client import plain_client

# A run does not wait long for a server that does not answer. Dagster then says that the output could not be kept.
ATTEMPTS = 2


class ConsoleComputeLogManager(S3ComputeLogManager):
    """Dagster's, with the server and key of the settings, and with downloads through the console.

    Dagster's own uses the key of the environment, which would also replace the one of `.env`. Its pages link to signed
    addresses of S3: whoever has one needs no login, and the audit trail does not know of the download.

    Args:
        config: as for Dagster's. `local_dir` is by default a folder of DAGSTER_HOME, not the system's temporary folder.

    Raises:
        SettingsError: a setting is missing or wrong.
    """

    def __init__(self, **config: Any) -> None:
        config.setdefault("local_dir", str(Path(os.environ["DAGSTER_HOME"]) / "compute_logs"))
        super().__init__(**config)
        self._s3_session = plain_client(load_settings(), attempts=ATTEMPTS)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Keep what is printed in the block. Dagster's keeps nothing of it if the block ends with an exception."""
        ended_by: BaseException | None = None
        with super().capture_logs(log_key) as context:
            try:
                yield context
            except BaseException as error:  # noqa: BLE001  # a terminated run too
                ended_by = error
        if ended_by is not None:
            raise ended_by

    def download_url_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> str | None:
        """Return the path of the output in the console; None as long as the run prints."""
        if not self.is_capture_complete(log_key):
            return None
        return str(self.local_manager.get_captured_log_download_url(log_key, io_type))  # type: ignore[no-untyped-call]
