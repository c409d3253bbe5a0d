"""Check what a reimport needs besides the two databases, as far as it is configured: S3, mail server, folders."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from fm_pipeline.errors import SettingsError, StorageError
from fm_pipeline.folders import make_private_folder
from fm_pipeline.nexus.backup.files import read_key
from fm_pipeline.preflight.finding import Finding, FindingBuilder
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import open_bucket
from fm_pipeline.storage.client import make_client

TIMEOUT_SECONDS = 10


def with_short_timeouts(settings: Settings) -> Settings:
    """Return the settings with short time-outs for S3 and Orthanc, for use in a check."""
    return settings.model_copy(
        update={
            "s3_timeout_seconds": min(settings.s3_timeout_seconds, TIMEOUT_SECONDS),
            "orthanc_timeout_seconds": min(settings.orthanc_timeout_seconds, TIMEOUT_SECONDS),
        }
    )


def check_services(settings: Settings, build: FindingBuilder) -> Iterator[Finding]:
    """Check each service that is configured."""
    yield _state_folder(settings.state_dir, build)
    if settings.backup_dir:
        yield _backup_folder(settings.backup_dir, build)
    if settings.backup_key and settings.backup_key.get_secret_value().strip():
        yield _backup_key(settings, build)
    if settings.s3_bucket:
        yield _s3(settings, settings.s3_bucket, build)
    if settings.smtp_host:
        yield _mail(settings, build)


def _backup_key(settings: Settings, build: FindingBuilder) -> Finding:
    """Check the key now; a reimport would use it only after FileMaker has been read."""
    try:
        read_key(settings)
    except SettingsError as error:
        return build.from_error("backup_key_wrong", "backup key", error)
    return build.ok("backup key", "is a key of age; backups are encrypted")


def _state_folder(folder: Path, build: FindingBuilder) -> Finding:
    if fault := _fault(folder):
        return build.violation("state_folder_unusable", "state folder", f"STATE_DIR: {fault}")
    mode = folder.stat().st_mode & 0o777
    if mode & 0o066:  # the execute bit is harmless: the folders below are private themselves
        return build.violation("state_folder_open", "state folder", f"STATE_DIR has the mode {mode:04o}")
    return build.ok("state folder", "can be written, and neither listed nor written by others")


def _backup_folder(folder: Path, build: FindingBuilder) -> Finding:
    """Check that it is writable. Its mode does not matter: each backup is a private folder in it."""
    if fault := _fault(folder):
        return build.violation("state_folder_unusable", "backup folder", f"BACKUP_DIR: {fault}")
    return build.ok("backup folder", "can be written")


def _fault(folder: Path) -> str:
    """Return why the folder cannot be written to; empty if it can."""
    try:
        make_private_folder(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _s3(settings: Settings, bucket: str, build: FindingBuilder) -> Finding:
    try:
        few = with_short_timeouts(settings).model_copy(update={"s3_bucket": bucket})
        with closing(make_client(few, attempts=1)) as client:
            open_bucket(few, client).exists("patients/")
    except (StorageError, SettingsError) as error:
        return build.from_error("s3_unreachable", "S3", error)
    return build.ok("S3", "the bucket can be listed")


def _mail(settings: Settings, build: FindingBuilder) -> Finding:
    """Check encryption, login, sender and recipients without sending an email."""
    from fm_pipeline.notifications.smtp import Email, EmailNotSent, deliver  # noqa: PLC0415

    accepted = []

    def no_mail() -> bool:
        accepted.append(True)
        return False

    try:
        deliver(settings, Email("preflight", "", ""), no_mail, limit_seconds=TIMEOUT_SECONDS)
    except EmailNotSent as error:
        if not accepted:
            return build.violation("mail_unreachable", "mail server", str(error))
    return build.ok("mail server", "accepts sender and receivers; nothing was sent")
