"""Translate errors of S3 and boto3 into StorageError: S3's code, its meaning, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

from fm_pipeline.certificates import certificate_refusal
from fm_pipeline.errors import StorageError


@contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Raise StorageError for what boto3 raises in the block. It carries S3's code, never a key or a body.

    Args:
        action: what S3 is asked to do, for example "list the bucket".
    """
    from botocore.exceptions import (  # noqa: PLC0415  # slow to import
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )
    from botocore.parsers import ResponseParserError  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except ClientError as error:
        raise refused_by_s3(action, str(error.response.get("Error", {}).get("Code", "unknown"))) from None
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StorageError(
            f"S3 was not asked to {action}: there is no access key ({type(error).__name__}).",
            code=type(error).__name__,
            remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role.",
        ) from None
    except (ResponseParserError, ValueError):  # an invalid time or number
        raise not_s3(action) from None
    except (BotoCoreError, HTTPError, HTTPException) as error:  # the latter two while a body is read
        if refusal := certificate_refusal(error, address="S3_ENDPOINT_URL", authority="AWS_CA_BUNDLE"):
            raise StorageError(
                f"S3 was not asked to {action}: its certificate {refusal.why}.",
                code=type(error).__name__,
                meaning="What was done before stays; a repeat goes on from there.",
                remedy=refusal.remedy,
            ) from None
        raise StorageError(
            f"S3 did not answer when asked to {action} ({type(error).__name__}).",
            code=type(error).__name__,
            meaning="What was done before stays; a repeat goes on from there.",
            remedy="Check S3_ENDPOINT_URL (for AWS: AWS_REGION), that the server runs, and the network; then start"
            " again.",
        ) from None


def not_s3(action: str) -> StorageError:
    """Return the error for a response that does not come from S3."""
    return StorageError(
        f"What answered when S3 was asked to {action} is not S3.",
        code="NotUnderstood",
        meaning="What was done before stays; a repeat goes on from there.",
        remedy="Check S3_ENDPOINT_URL, and whether a proxy in front of it answers in its place; then start again.",
    )


def refused_by_s3(action: str, code: str) -> StorageError:
    """Return the error for an S3 error code."""
    return StorageError(
        f"S3 refused to {action} ({code}).",
        code=code,
        meaning=_MEANINGS.get(code, ""),
        remedy=_REMEDIES.get(code, "Check the S3 settings and the role's policy; SECURITY.md has one."),
    )


_MEANINGS = {
    "SlowDown": "The server asks for fewer requests at a time.",
    "ServiceUnavailable": "The server asks for fewer requests at a time.",
    "AccessDenied": "The role may not do this.",
    "NoSuchKey": "The object has gone since it was listed.",
    "NoSuchBucket": "There is no bucket of this name.",
    "InvalidObjectState": "The object lies in an archive of S3 (Glacier).",
    "RequestTimeTooSkewed": "The clock of this machine is more than 15 minutes wrong.",
    **dict.fromkeys(("PermanentRedirect", "AuthorizationHeaderMalformed"), "The bucket is in another region."),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch"), "The key is not known, or its secret is wrong."),
    "ExpiredToken": "The temporary key is no longer good.",
}
_REMEDIES = {
    "AccessDenied": "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the role's policy; SECURITY.md has one.",
    "NoSuchBucket": "Check S3_BUCKET, or the bucket that Nexus' rows name.",
    "SlowDown": "Lower S3_CONCURRENCY, or try again later.",
    "ServiceUnavailable": "Lower S3_CONCURRENCY, or try again later.",
    "NoSuchKey": "Run again: both sides are listed anew.",
    "InvalidObjectState": "Restore it in S3 for some days, then run again.",
    "RequestTimeTooSkewed": "Set the clock of this machine, best by NTP, and start again.",
    **dict.fromkeys(("PermanentRedirect", "AuthorizationHeaderMalformed"), "Set AWS_REGION to the bucket's region."),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"),
        "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, then start again.",
    ),
}
