"""The configuration that an administrator changes at run time: watched path, intervals, limits, FTP.

It is one row of `sync_configuration`. Until it is written, HOSPITAL_DATA_PATH and MONITORING_ENABLED of the environment
apply, and other automatic actions are off. A change takes effect at the next tick of the sensor, without a restart.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from psycopg2.extensions import connection as Connection
from psycopg2.extras import RealDictCursor
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fm_pipeline.db.audit import audited
from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.db.queries import has_table
from fm_pipeline.dicom.configuration.roots import allowed_path
from fm_pipeline.dicom.paths import mount_point_of, path_hash, printable, real_path
from fm_pipeline.errors import RequestError
from fm_pipeline.settings import Settings

_log = logging.getLogger(__name__)
DAY = 86_400  # seconds
# The sensor ticks every ten seconds, so a shorter interval is not possible.
SHORTEST_INTERVAL = 10


class SyncConfiguration(BaseModel):
    """The configuration. The names of the hospital's own system are kept.

    Attributes:
        monitoring_interval: seconds between two polls of the directory.
        quiet_period: seconds that a file must be unchanged before it is imported.
        files_per_job: the most files of a job that the sensor starts.
        sync_interval: the least seconds between two scheduled incremental imports of the whole directory.
        ftp_password_set: whether FTP_PASSWORD was set when this was written. The password is never stored here.
        ftp_folder: the folder for pulled files in the watched directory.
        updated_at: None until a configuration is written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hospital_data_path: str | None = None
    orthanc_storage_path: str | None = None
    monitoring_enabled: bool = False
    monitoring_interval: int = Field(default=30, ge=SHORTEST_INTERVAL, le=DAY)
    quiet_period: int = Field(default=60, ge=0, le=DAY)
    # Bounded, so that a job takes minutes, and little has to be repeated after a cancellation.
    files_per_job: int = Field(default=5_000, ge=1, le=1_000_000)
    sync_enabled: bool = False
    sync_interval: int = Field(default=12 * 3600, ge=60, le=31 * DAY)
    last_sync_at: datetime | None = None
    ftp_enabled: bool = False
    ftp_host: str | None = None
    ftp_port: int = Field(default=21, ge=1, le=65_535)
    ftp_username: str | None = None
    ftp_password_set: bool = False
    ftp_path: str = "/"
    ftp_passive: bool = True
    ftp_security: Literal["tls", "tls_unverified", "none"] = "tls"
    ftp_folder: str = "ftp"
    updated_at: datetime | None = None
    updated_by: str | None = None

    @field_validator("hospital_data_path", "orthanc_storage_path", "ftp_host", "ftp_username", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("hospital_data_path", "orthanc_storage_path")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and ("\0" in value or not Path(value).is_absolute()):
            raise ValueError("must be an absolute path")
        return value

    @field_validator("ftp_folder")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = Path(value)
        if not path.parts or "\0" in value or path.is_absolute() or ".." in path.parts:
            raise ValueError("must be a folder in the watched directory, for example ftp")
        return value

    @field_validator("ftp_path")
    @classmethod
    def _on_the_server(cls, value: str) -> str:
        if not value.startswith("/") or set(value) & set("\0\r\n"):
            raise ValueError("must begin with /")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.monitoring_enabled and not self.hospital_data_path:
            raise ValueError("monitoring needs hospital_data_path")
        if self.ftp_enabled and not (self.ftp_host and self.hospital_data_path):
            raise ValueError("FTP needs ftp_host and hospital_data_path")
        return self

    @property
    def ftp_configured(self) -> bool:
        """Whether an FTP server is configured, enabled or not."""
        return self.ftp_host is not None


# The fields that an administrator can set. The pipeline sets the others.
SET_BY_PIPELINE = frozenset({"last_sync_at", "ftp_password_set", "updated_at", "updated_by"})
CHANGEABLE = tuple(name for name in SyncConfiguration.model_fields if name not in SET_BY_PIPELINE)
_COLUMNS = tuple(SyncConfiguration.model_fields)


def read_configuration(connection: Connection, settings: Settings) -> SyncConfiguration:
    """Return the row, or the defaults of the environment if there is none.

    Args:
        connection: to a migrated database.
    """
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(f"SELECT {', '.join(_COLUMNS)} FROM fm_pipeline.sync_configuration")  # noqa: S608  # our names
        row = cursor.fetchone()
    return SyncConfiguration(**row) if row else _from_environment(settings)


def read_configuration_if_migrated(connection: Connection, settings: Settings) -> SyncConfiguration:
    """Return the configuration from a database that may not be migrated yet. Nothing is written."""
    with connection.cursor() as cursor:
        exists = has_table(cursor, "fm_pipeline.sync_configuration")
    return read_configuration(connection, settings) if exists else _from_environment(settings)


def configure(settings: Settings, changes: Mapping[str, Any], *, actor: str, now: datetime) -> SyncConfiguration:
    """Change some values, and keep the others. Audited, also when it is refused.

    Args:
        changes: by name; only fields in `CHANGEABLE`.
        actor: the user.

    Returns:
        The whole new configuration.

    Raises:
        RequestError: a value is invalid, or the path is not below an allowed root. Nothing was changed.
    """
    database_url = settings.nexus_database_url.get_secret_value()
    migrate(database_url)
    with (
        _logged_refusals(),
        audited(database_url, actor=actor, action="dicom_configure"),
        connect(database_url) as connection,
    ):
        before = _read_to_change(connection, settings)
        unknown = set(changes) - set(CHANGEABLE)
        if unknown:
            raise RequestError(f"There is no such setting of the import: {', '.join(sorted(unknown))}.")
        if changes.get("hospital_data_path"):
            changes = {**changes, "hospital_data_path": allowed_path(settings, changes["hospital_data_path"])}
        if changes.get("ftp_host"):
            _refuse_more_than_a_host(changes["ftp_host"])
        kept = {"updated_at": now, "updated_by": actor, "ftp_password_set": settings.ftp_password is not None}
        after = _checked({**before.model_dump(), **changes, **kept})
        _write(connection, after)
        # The form always sends the path, and so does each call of the API. Whoever changes something else means that.
        if changes.get("hospital_data_path") and after == before.model_copy(update=kept):
            _accept_mount_points(connection, changes["hospital_data_path"])
        connection.commit()
    _log.info("Configured: %s.", ", ".join(sorted(changes)))
    return after


def _accept_mount_points(connection: Connection, path: str) -> None:
    """Accept where the directory and folders in it are mounted now: whoever only names it again has moved it.

    An empty one may be the mount point of a disk that is missing now. For it nothing changes. Folders that are still
    mounted stay as they are, so that it is noticed when they are not.
    """
    with connection.cursor() as cursor:
        if _has_entries(path):
            cursor.execute(
                "UPDATE fm_pipeline.watched_roots SET mount_point = %s WHERE path_hash = %s",
                (printable(mount_point_of(path)), path_hash(path)),
            )
        cursor.execute(
            "SELECT d.root_id, d.path_hash::text, d.directory FROM fm_pipeline.watched_directories d"
            " JOIN fm_pipeline.watched_roots r ON r.id = d.root_id WHERE r.path_hash = %s AND d.is_mount",
            (path_hash(path),),
        )
        for root_id, key, directory in cursor.fetchall():
            folder = real_path(directory)
            if not os.path.ismount(folder) and _has_entries(folder):
                cursor.execute(
                    "UPDATE fm_pipeline.watched_directories SET is_mount = false"
                    " WHERE root_id = %s AND path_hash = %s::uuid",
                    (root_id, key),
                )


def _has_entries(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _refuse_more_than_a_host(host: object) -> None:
    """Not a rule of the model, because a row may have such a host from before."""
    if not re.fullmatch(r"[^\s/@:?#\[\]]+|[0-9A-Fa-f:.]+(%\w+)?", str(host)):  # a name, or an address (IPv6 too)
        raise RequestError(
            "The configuration is not usable: ftp_host is not the name or the address of a host alone.",
            meaning="Nothing was changed.",
            remedy="Write it as ftp.hospital.example. Port, account and folder are --ftp-port, --ftp-username and"
            " --ftp-path.",
        )


@contextmanager
def _logged_refusals() -> Iterator[None]:
    try:
        yield
    except RequestError as error:
        _log.warning("Refused (dicom_configure): %s", error)
        raise


def mark_synced(connection: Connection, settings: Settings, now: datetime) -> None:
    """Record the start of a scheduled import of the whole directory. Does not commit."""
    before = _read_to_change(connection, settings)
    kept = {
        "last_sync_at": now,
        "updated_at": before.updated_at or now,
        "updated_by": before.updated_by or "fm_pipeline",
    }
    _write(connection, before.model_copy(update=kept))


def _read_to_change(connection: Connection, settings: Settings) -> SyncConfiguration:
    """Return the configuration, which nobody else can change until the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE fm_pipeline.sync_configuration IN SHARE ROW EXCLUSIVE MODE")
    return read_configuration(connection, settings)


def _from_environment(settings: Settings) -> SyncConfiguration:
    path = str(settings.hospital_data_path) if settings.hospital_data_path else None
    return _checked(
        {
            "hospital_data_path": path,
            "monitoring_enabled": settings.monitoring_enabled and path is not None,
            "ftp_password_set": settings.ftp_password is not None,
        }
    )


def _checked(values: Mapping[str, Any]) -> SyncConfiguration:
    try:
        return SyncConfiguration(**values)
    except ValidationError as error:
        faults = "; ".join(
            ": ".join([*map(str, fault["loc"][:1]), fault["msg"].removeprefix("Value error, ")])
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise RequestError(
            f"The configuration is not usable: {faults}.",
            meaning="Nothing was changed.",
            remedy="fm-pipeline dicom configure --help lists what can be set.",
        ) from None


def _write(connection: Connection, configuration: SyncConfiguration) -> None:
    names = ", ".join(_COLUMNS)
    places = ", ".join(f"%({name})s" for name in _COLUMNS)
    updates = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO fm_pipeline.sync_configuration ({names}) VALUES ({places})"  # noqa: S608  # our own names
            f" ON CONFLICT (id) DO UPDATE SET {updates}",
            configuration.model_dump(),
        )
