"""The S3 client, with a guard against writes where the pipeline never writes.

Writes are allowed below `patients/` only. The client refuses every other write before a request is sent, so the bulk
dump, which is a backup, is safe whatever the settings are. Sub-resources (tags, ACLs, retention) are refused too,
because some servers answer such a request by overwriting the object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fm_pipeline.errors import SettingsError, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from fm_pipeline.settings import Settings

WRITABLE = "patients/"  # Nexus keeps all files of patients below it
BULK_PREFIX = "filemaker-import/images-bulk-dump/"  # always protected, also when the settings name another one
ATTEMPTS = 6  # for each request, with growing pauses: 503 Slow Down asks for fewer requests
CONNECT_SECONDS = 10
_REDIRECTS = {301, 302, 303, 307, 308}
_READ_OPERATIONS = frozenset(
    {
        *("ListObjectsV2", "ListObjectVersions", "ListBuckets", "HeadBucket", "HeadObject", "GetObject"),
        *("GetBucketLocation", "GetBucketVersioning", "GetBucketLifecycleConfiguration"),
    }
)
_WRITE_OPERATIONS = frozenset({"PutObject", "CopyObject"})


def make_client(settings: Settings, *, attempts: int = ATTEMPTS) -> S3Client:
    """Return a guarded S3 client with the time-outs, retries and pool size of the settings.

    Args:
        attempts: for each request.

    Raises:
        SettingsError: a setting is missing.
    """
    return guarded(plain_client(settings, attempts=attempts), settings.s3_bulk_prefix)


def plain_client(settings: Settings, *, attempts: int) -> S3Client:
    """Return the client without the guard, for a bucket that has no files of patients.

    Args, Raises:
        as `make_client`.
    """
    import boto3  # noqa: PLC0415  # slow to import
    from botocore.config import Config  # noqa: PLC0415

    secret = settings.aws_secret_access_key
    config = Config(
        user_agent="fm_pipeline",  # botocore builds its own one anew twice for each request
        connect_timeout=CONNECT_SECONDS,
        read_timeout=settings.s3_timeout_seconds,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        max_pool_connections=settings.s3_concurrency + 2,
        # Other servers than Amazon's refuse the checksums that boto3 sends by default since 1.36.
        request_checksum_calculation="when_required" if settings.s3_endpoint_url else "when_supported",
        response_checksum_validation="when_required" if settings.s3_endpoint_url else "when_supported",
    )
    try:
        client = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint_url or None,
            aws_access_key_id=settings.aws_access_key_id or None,
            aws_secret_access_key=(secret.get_secret_value() if secret else None) or None,
            region_name=settings.aws_region,
            config=config,
        )
    except ValueError:
        raise SettingsError(
            "S3_ENDPOINT_URL is not an address.", remedy="Write it as https://host, or leave it out for AWS."
        ) from None
    if settings.s3_endpoint_url:
        client.meta.events.register_first("needs-retry.s3", _refuse_redirect)
    return client


def _refuse_redirect(response: tuple[Any, Mapping[str, Any]] | None, **_: object) -> None:
    """Refuse a redirect of a server at S3_ENDPOINT_URL. A proxy may send one, for example from http to https.

    botocore reads every redirect as Amazon's "the bucket is in another region" and asks for the region. The answer is
    again a redirect, until the recursion limit is reached.
    """
    if response is None:  # no answer arrived
        return
    http, parsed = response
    if http.status_code in _REDIRECTS and parsed.get("Error", {}).get("Code") != "PermanentRedirect":
        http.raw.close()
        raise StorageError(
            f"The server at S3_ENDPOINT_URL leads to another address (HTTP {http.status_code}).",
            code="Redirect",
            meaning="Nothing was sent there.",
            remedy="Write the other address into S3_ENDPOINT_URL; often it is the same one with https://.",
        )


def guarded(client: S3Client, bulk_prefix: str) -> S3Client:
    """Make a client refuse everything but reads and new objects below `patients/`, before a request is sent."""
    protected = (BULK_PREFIX, bulk_prefix)

    def guard(params: Mapping[str, Any], model: Any, **_: object) -> None:
        if model.name in _READ_OPERATIONS:
            return
        key = str(params.get("Key", ""))
        if model.name not in _WRITE_OPERATIONS or not is_writable(key) or key.startswith(protected):
            raise StorageError(
                f"The pipeline was about to send {model.name} for a place in S3 where it never writes.",
                meaning="Nothing was sent. It writes new objects below patients/ and deletes none.",
                remedy="This is a fault of the program: report it.",
            )

    client.meta.events.register("before-parameter-build.s3", guard)
    return client


def is_writable(key: str) -> bool:
    """Whether the pipeline may write a key: it lies below `patients/` and has no `.`, `..` or empty part."""
    parts = key.split("/")
    return key.startswith(WRITABLE) and not {"", ".", ".."} & set(parts)
