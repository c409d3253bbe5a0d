"""What a run needs. Settings are read when a run starts, never while definitions load, so that no secret is in them.

https://docs.dagster.io/guides/build/external-resources
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import dagster as dg
from dagster_aws.s3 import S3Resource
from psycopg2.extensions import connection as Connection
from pydantic import PrivateAttr

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.entities.profile import Profile, load_profile
from fm_pipeline.errors import PipelineError
from fm_pipeline.filemaker.client import DataApiClient
from fm_pipeline.filemaker.connect import open_client
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import ATTEMPTS, Bucket, make_client, open_bucket

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class FileMakerSource:
    """The FileMaker file of one run: its profile, and one session that opens at the first call."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: DataApiClient | None = None
        self.profile: Profile = load_profile(settings.filemaker_profile)

    @property
    def client(self) -> DataApiClient:
        """The client; every step of a run shares it."""
        if self._client is None:
            self._client = open_client(self._settings)
        return self._client

    def close(self) -> None:
        """Log out."""
        if self._client is not None:
            self._client.close()


class NexusTarget:
    """The Nexus database of one run; our own schema is brought up to date before the first connection."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._migrated = False

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """One connection; see `fm_pipeline.db.connection.connect`."""
        self.prepare()
        with connect(self.settings.nexus_database_url.get_secret_value()) as connection:
            yield connection

    def prepare(self) -> Self:
        """Run the migrations that are missing, once a run."""
        if not self._migrated:
            migrate(self.settings.nexus_database_url.get_secret_value())
            self._migrated = True
        return self


class PatientFiles(S3Resource):
    """dagster-aws's S3 resource, whose client has our time-outs, retries and pool, and never writes in the bulk dump.

    Built when a run starts, so its secret is in no snapshot. As with every S3Resource, `context.resources.s3` is its
    client.
    """

    _settings: Settings = PrivateAttr()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The resource that the settings describe; nothing is sent yet."""
        files = cls(
            endpoint_url=settings.s3_endpoint_url or None,
            region_name=settings.aws_region,
            max_attempts=ATTEMPTS,
        )
        files._settings = settings
        return files

    def get_client(self) -> S3Client:
        """See `fm_pipeline.storage.bucket.make_client`."""
        return make_client(self._settings)

    def bucket(self) -> Bucket:
        """The bucket that the settings name."""
        return open_bucket(self._settings, self.get_client())


class OrthancTarget:
    """The PACS of one run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def version(self) -> str:
        """Of the server; `unknown` if it does not say."""
        try:
            with Orthanc.from_settings(self._settings) as orthanc:
                return str(orthanc.system().get("Version", "unknown"))
        except PipelineError:
            return "unknown"  # what was imported is imported


def pipeline_resources(read_settings: Callable[[], Settings]) -> dict[str, dg.ResourceDefinition]:
    """The resources of a code location.

    Args:
        read_settings: called when a run starts.
    """

    @dg.resource(description="The FileMaker file: FILEMAKER_* settings. One session a run, logged out at its end.")
    def filemaker(_: dg.InitResourceContext) -> Iterator[FileMakerSource]:
        source = FileMakerSource(read_settings())
        try:
            yield source
        finally:
            source.close()

    @dg.resource(description="The Nexus database: NEXUS_* settings.")
    def nexus(_: dg.InitResourceContext) -> NexusTarget:
        return NexusTarget(read_settings())

    @dg.resource(description="The bucket of documents and images: S3_* and AWS_* settings. It cannot delete.")
    def s3(_: dg.InitResourceContext) -> PatientFiles:
        return PatientFiles.of(read_settings())

    @dg.resource(description="The PACS: ORTHANC_* settings.")
    def orthanc(_: dg.InitResourceContext) -> OrthancTarget:
        return OrthancTarget(read_settings())

    return {"filemaker": filemaker, "nexus": nexus, "orthanc": orthanc, "s3": s3}
