"""What a reimport needs besides the two databases, as far as it is set: S3, the mail server, our own folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from fm_pipeline.errors import SettingsError, StorageError
from fm_pipeline.folders import make_private_folder
from fm_pipeline.nexus.backup.files import read_key
from fm_pipeline.preflight.finding import Finding, Judge
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import make_client, open_bucket

PATIENCE_SECONDS = 10


def with_little_patience(settings: Settings) -> Settings:
    """The same settings for one look: S3 and Orthanc get no longer for an answer than the mail server does."""
    return settings.model_copy(
        update={
            "s3_timeout_seconds": min(settings.s3_timeout_seconds, PATIENCE_SECONDS),
            "orthanc_timeout_seconds": min(settings.orthanc_timeout_seconds, PATIENCE_SECONDS),
        }
    )


def check_services(settings: Settings, judge: Judge) -> Iterator[Finding]:
    """Look at each; what is not set is not looked for."""
    yield _state_folder(settings.state_dir, judge)
    if settings.backup_dir:
        yield _backup_folder(settings.backup_dir, judge)
    if settings.backup_key and settings.backup_key.get_secret_value().strip():
        yield _backup_key(settings, judge)
    if settings.s3_bucket:
        yield _s3(settings, settings.s3_bucket, judge)
    if settings.smtp_host:
        yield _mail(settings, judge)


def _backup_key(settings: Settings, judge: Judge) -> Finding:
    """A reimport would find out about a wrong key only when FileMaker has been read."""
    try:
        read_key(settings)
    except SettingsError as error:
        return judge.failed("backup_key_wrong", "backup key", error)
    return judge.good("backup key", "is a key of age; backups are encrypted")


def _state_folder(folder: Path, judge: Judge) -> Finding:
    if fault := _fault(folder):
        return judge.broken("state_folder_unusable", "state folder", f"STATE_DIR: {fault}")
    mode = folder.stat().st_mode & 0o777
    if mode & 0o066:  # to pass through to a known name below, which is private itself, is no harm
        return judge.broken("state_folder_open", "state folder", f"STATE_DIR has the mode {mode:04o}")
    return judge.good("state folder", "can be written, and neither listed nor written by others")


def _backup_folder(folder: Path, judge: Judge) -> Finding:
    """Its mode does not matter: each backup is a private folder in it, and it may be the top of a disk of its own."""
    if fault := _fault(folder):
        return judge.broken("state_folder_unusable", "backup folder", f"BACKUP_DIR: {fault}")
    return judge.good("backup folder", "can be written")


def _fault(folder: Path) -> str:
    """Why nothing can be written there; empty if something can."""
    try:
        make_private_folder(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _s3(settings: Settings, bucket: str, judge: Judge) -> Finding:
    try:
        few = with_little_patience(settings).model_copy(update={"s3_bucket": bucket})
        with closing(make_client(few, attempts=1)) as client:
            open_bucket(few, client).has("patients/")
    except StorageError as error:
        return judge.broken("s3_unreachable", "S3", f"the bucket cannot be listed ({error.code}): {error.what}")
    except SettingsError as error:
        return judge.broken("s3_unreachable", "S3", error.what)
    return judge.good("S3", "the bucket can be listed")


def _mail(settings: Settings, judge: Judge) -> Finding:
    """Everything that a mail needs but the mail: encryption, login, sender, receivers."""
    from fm_pipeline.notifications.smtp import Letter, NotSent, deliver  # noqa: PLC0415

    accepted = []

    def no_mail() -> bool:
        accepted.append(True)
        return False

    try:
        deliver(settings, Letter("preflight", "", ""), no_mail, limit_seconds=PATIENCE_SECONDS)
    except NotSent as error:
        if not accepted:
            return judge.broken("mail_unreachable", "mail server", str(error))
    return judge.good("mail server", "accepts sender and receivers; nothing was sent")
