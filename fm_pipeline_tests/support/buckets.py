"""A bucket for one test, on the sandbox's S3 server."""

from __future__ import annotations

import itertools
from typing import Any

import boto3
from botocore.config import Config

from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.settings import Settings, load_settings
from fm_pipeline.storage.bucket import Bucket, open_bucket
from fm_pipeline.storage.client import BULK_PREFIX

_numbers = itertools.count(1)


class BucketBench:
    """A new bucket, the settings for it, and a client of another user with all permissions."""

    def __init__(self, server: S3Service) -> None:
        self.name = f"test-{next(_numbers)}"
        self.given = {name.lower(): value for name, value in server.settings().items()} | {"s3_bucket": self.name}
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.given["s3_endpoint_url"],
            aws_access_key_id=self.given["aws_access_key_id"],
            aws_secret_access_key=self.given["aws_secret_access_key"],
            region_name=self.given["aws_region"],
            config=Config(request_checksum_calculation="when_required", max_pool_connections=20),
        )
        self.client.create_bucket(Bucket=self.name)

    def environment(self) -> dict[str, str]:
        """Return the settings for this bucket as environment variables."""
        return {name.upper(): value for name, value in self.given.items()}

    def settings(self, settings: Settings) -> Settings:
        """Return the same settings with this bucket."""
        return load_settings(_env_file=None, **(settings.model_dump(exclude_unset=True) | self.given))

    def bucket(self, settings: Settings | None = None) -> Bucket:
        """Open the bucket as the pipeline does."""
        return open_bucket(self.settings(settings or bare_settings()))

    def put(self, key: str, body: bytes) -> None:
        """Write an object, as another user."""
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def put_bulk(self, name: str, body: bytes) -> None:
        """Write an object of the bulk dump."""
        self.put(BULK_PREFIX + name, body)

    def delete(self, key: str) -> None:
        """Delete an object, as another user."""
        self.client.delete_object(Bucket=self.name, Key=key)

    def objects(self, prefix: str = "") -> dict[str, tuple[int, str]]:
        """List keys with size and ETag, as another user."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return {item["Key"]: (item["Size"], item["ETag"]) for page in pages for item in page.get("Contents", [])}


def bare_settings(**more: Any) -> Settings:
    """Return settings of a pipeline that only uses S3."""
    needed = {"nexus_database_url": "postgresql://nowhere/nexus"}
    return load_settings(_env_file=None, **(needed | more))
