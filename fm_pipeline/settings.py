"""Every setting, typed, read once from the environment and from a `.env` file (`env_file.find_env_file`).

The names are those of `.env.example`. Secrets are `SecretStr`: printing settings never prints a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fm_pipeline.env_file import NAMED_FILE, find_env_file, validate_env_file, where_looked_for
from fm_pipeline.errors import SettingsError

ENV_FILE = NAMED_FILE
Kind = TypeVar("Kind", bound=BaseSettings)

# A day at most: larger values overflow sockets and sleeps, and inf is no time.
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Pause = Annotated[float, Field(ge=0, le=86_400)]
Hours = Annotated[int | None, Field(ge=1, le=8760)]

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# Names of files that are read and put down nowhere: a disk may have them in any bytes.
_ONLY_OPENED = (
    "filemaker_ca_bundle",
    "filemaker_exports_folder",
    "rules_file",
    "image_export_file",
    "orthanc_ca_bundle",
    "hospital_data_path",
    "dicom_allowed_roots",
    "dicom_excluded_folders",
    "ftp_ca_bundle",
)
# Also the name of one that comes with the package
_NAME_OR_PATH = ("filemaker_profile", "rules_file")


def _is_known_time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a name like ../x, a folder of zones
        raise ValueError("is no time zone of the IANA database; write it as Australia/Sydney") from None
    return value


TimeZone = Annotated[str, AfterValidator(_is_known_time_zone)]
TIME_ZONE = "Australia/Sydney"
PROFILE = "nexus"


def folder_names(names: str | None) -> list[str]:
    """The single names of DICOM_EXCLUDED_FOLDERS, which are separated as in PATH."""
    return [name for name in (names or "").split(os.pathsep) if name]


class _FromEnvironment(BaseSettings):
    """What holds for each setting."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_in_utf_8(cls, value: object, info: ValidationInfo) -> object:
        """Python takes other bytes of the environment as lone surrogates, which no server or table takes."""
        if info.field_name not in _ONLY_OPENED and isinstance(value, str) and _LONE_SURROGATE.search(value):
            raise ValueError("is not in UTF-8")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _is_set(cls, value: object, info: ValidationInfo) -> object:
        """An empty value is as none. Where there is a default it is refused: the default may delete."""
        field = cls.model_fields[str(info.field_name)]
        if value == "" and (field.is_required() or field.default is not None):
            raise ValueError("is empty" if field.is_required() else f"is empty; the default is {field.default}")
        return None if value == "" else value


class Settings(_FromEnvironment):
    """All settings of the pipeline. Build it with `load_settings`, which explains what is missing."""

    # The target
    nexus_database_url: SecretStr
    nexus_schema: str = Field(default="public", min_length=1)
    nexus_lock_timeout_seconds: float = Field(default=20, gt=0, le=600)
    nexus_only_columns: Literal["keep", "reset"] = Field(
        default="keep", description="Columns that FileMaker does not feed (mrn, archived, flags); keep is safe."
    )
    nexus_letters: Literal["delete", "keep"] = Field(
        default="delete", description="FileMaker has no letters: the import sequence deletes those of Nexus."
    )
    nexus_reminders: Literal["delete", "keep"] = Field(
        default="delete", description="FileMaker has no reminders: the import sequence deletes those of Nexus."
    )
    nexus_files_of_gone_patients: Literal["stop", "archive", "detach"] = Field(
        default="stop", description="Documents and image batches whose patient would be deleted; stop is safe."
    )
    nexus_archive_patient: str | None = Field(
        default=None, description="Nexus id or FileMaker id of the patient who gets these files by archive."
    )
    nexus_soft_references: Literal["keep", "empty", "stop"] = Field(
        default="keep", description="Ids of deleted rows, in columns without a foreign key; keep is safe."
    )
    nexus_trigger_tables: str | None = Field(
        default=None, description="Tables, with commas between, to which triggers of the application may add rows."
    )
    nexus_sync_edits: Literal["keep", "replace"] = Field(
        default="keep", description="Values of Nexus that a sync has kept, in a full reimport; keep is safe."
    )

    # The source; asked for by what reads FileMaker and by nothing else (`filemaker.connect`)
    filemaker_door: Literal["data_api", "odata", "exports"] = "data_api"  # images always take the Data API
    filemaker_exports_folder: Path | None = Field(default=None, description="The folder of the door `exports`.")
    filemaker_url: str | None = None
    filemaker_database: str | None = None
    filemaker_username: str | None = None
    filemaker_password: SecretStr | None = None
    filemaker_ca_bundle: Path | None = None
    filemaker_profile: str = Field(default=PROFILE, description="A profile's name, or a path of a profile file.")
    filemaker_page_size: int = Field(default=1000, ge=1, le=10_000)
    filemaker_timeout_seconds: Seconds = 90
    filemaker_image_pause_seconds: Pause = Field(
        default=60, description="First pause when FileMaker stops sending files; each next one is twice as long."
    )
    filemaker_image_rest_seconds: Pause = Field(default=5, description="Rest of FileMaker after each batch.")
    filemaker_image_failures: int = Field(default=5, ge=1, description="Failures in a row that end an image import.")
    filemaker_images_a_day: int = Field(default=500, ge=1, description="What the schedule of the import takes a day.")
    filemaker_sync: bool = Field(default=False, description="Each reimport stores what the next sync compares with.")
    filemaker_sync_changes: int = Field(
        default=0, ge=0, description="Rows that a sync may change without a person; deletions and conflicts wait."
    )
    reimport_trusts_unchanged_layouts: bool = Field(default=False, description="Pass over layouts that are as planned.")
    clinic_time_zone: TimeZone = TIME_ZONE
    rules_file: Path | None = Field(default=None, description="Rules that differ: a path, or a policy's name.")

    # Files
    s3_endpoint_url: str | None = None
    s3_bucket: str | None = None
    aws_access_key_id: str | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_region: str = "ap-southeast-2"
    s3_bulk_prefix: str = Field(
        default="filemaker-import/images-bulk-dump/",
        description="Where the bulk dump of images lies; never written to.",
    )
    s3_concurrency: int = Field(default=16, ge=1, le=256, description="Requests to S3 at the same time.")
    s3_timeout_seconds: Seconds = Field(default=60, description="How long one answer of S3 may take.")
    image_export_file: Path | None = Field(
        default=None, description="FileMaker's export of the images in the bulk dump."
    )

    # DICOM
    orthanc_url: str | None = None
    orthanc_username: str | None = None
    orthanc_password: SecretStr | None = None
    orthanc_ca_bundle: Path | None = Field(
        default=None, description="Authority of Orthanc's certificate; none: those that this machine trusts."
    )
    orthanc_timeout_seconds: Seconds = Field(default=60, description="For one answer; a large file gets more.")
    orthanc_never_overwrites: bool = Field(
        default=False, description="OverwriteInstances is false in an Orthanc before 1.11, which does not tell."
    )
    orthanc_keeps_all: bool = Field(
        default=True, description="Orthanc deletes nothing by itself, as a cache with a limit or a gateway does."
    )
    hospital_data_path: Path | None = Field(default=None, description="Until the sync configuration says otherwise.")
    monitoring_enabled: bool = Field(default=False, description="The same; safe: nothing is imported by itself.")
    dicom_allowed_roots: str | None = Field(default=None, description="Folders, separated as in PATH.")
    dicom_excluded_folders: str | None = Field(
        default=None, description="More names of folders that are left out, separated as in PATH."
    )
    dicom_archive_members: int = Field(
        default=100_000, ge=0, description="Files that an archive may have; 0: no archive is opened."
    )
    dicom_archive_gigabytes: float = Field(default=200, gt=0, description="What an archive may unpack to.")
    dicom_archive_ratio: int = Field(
        default=100, ge=1, description="How many times its size an archive may unpack to, where that is above 1 GB."
    )
    dicom_history_days: int | None = Field(
        default=None, ge=1, le=36_500, description="What `dicom prune` may remove; none: all stays."
    )
    ftp_password: SecretStr | None = Field(default=None, description="Here only; the table holds the other ftp_*.")
    ftp_ca_bundle: Path | None = None

    # Email
    smtp_host: str | None = None
    smtp_port: int = Field(default=25, ge=1, le=65_535)
    smtp_from: str | None = None
    smtp_to: str | None = Field(default=None, description="Addresses, separated by commas.")
    smtp_security: Literal["none", "starttls", "tls"] = "starttls"
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    dagster_ui_url: str | None = Field(default=None, description="Where people open the UI; emails link to their run.")
    support_contact: str | None = Field(default=None, description="Whom people ask, on failure pages and in emails.")
    expect_plan_hours: Hours = Field(default=None, description="A plan or reimport is due at least so often.")
    expect_dicom_hours: Hours = Field(default=None, description="A DICOM import is due at least so often.")
    expect_dicom_file_hours: Hours = Field(default=None, description="A new DICOM file is due at least so often.")

    # The console (`fm-pipeline serve`)
    console_database_url: SecretStr | None = Field(default=None, description="Its own role; none: NEXUS_DATABASE_URL.")
    console_url: str | None = Field(default=None, description="Where people open it; with https, cookies are secure.")
    console_allowed_hosts: str = Field(default="127.0.0.1,localhost", description="Names in the Host header.")
    console_viewer_group: str | None = Field(default=None, description="Django group whose members may read.")
    console_trusted_proxies: str | None = Field(
        default=None, description="Addresses or networks whose X-Forwarded-For is believed, separated by commas."
    )
    console_show_names: bool = Field(default=False, description="An admin may see the name of a quarantined record.")
    console_maintenance_mails: str | None = Field(default=None, description="Users' addresses, separated by commas.")

    # This project's own files (reports, logs, backups)
    state_dir: Path = Path(".state")
    backup_dir: Path | None = Field(default=None, description="Folder of backups; `backups` in STATE_DIR if not set.")
    backup_key: SecretStr | None = Field(default=None, description="An age key; with it no plain backup is on disk.")
    restore_database_url: SecretStr | None = Field(
        default=None, description="A role that may restore, in the same database; none: NEXUS_DATABASE_URL."
    )
    restore_drill_url: SecretStr | None = Field(default=None, description="An empty database; never Nexus' own.")

    @field_validator("filemaker_url", "orthanc_url", "s3_endpoint_url", "dagster_ui_url", "console_url")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with https:// (or http:// for a server on this machine)")
        try:
            parts = urlsplit(value)
            whole = parts.hostname and (parts.port is None or parts.port > 0) and not re.search(r"\s", value)
        except ValueError:  # a port that is no number, or beyond 65535
            whole = False
        if not whole:
            raise ValueError("must be an address as https://server.example:8443")
        return value.rstrip("/")

    @field_validator("console_trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str | None) -> str | None:
        try:
            for each in (value or "").split(","):
                if each.strip():
                    ip_network(each.strip())
        except ValueError:
            raise ValueError("must be addresses or networks, as 127.0.0.1,10.0.0.0/24") from None
        return value

    @field_validator("dicom_excluded_folders")
    @classmethod
    def _are_folder_names(cls, value: str | None) -> str | None:
        for name in folder_names(value):
            if os.sep in name:
                raise ValueError("must be names of folders, not paths")
            if name in {os.curdir, os.pardir} or not name.strip("*?. "):
                raise ValueError("must not name every folder")
        return value

    @field_validator("console_maintenance_mails")
    @classmethod
    def _are_mail_addresses(cls, value: str | None) -> str | None:
        for address in (value or "").split(","):
            if value and not re.fullmatch(r"[^@\s]+@[^@\s]+", address.strip()):
                raise ValueError("must be addresses as reception@clinic.example, separated by commas")
        return value

    @field_validator("s3_bucket")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value and "/" in value and not value.startswith("arn:"):
            raise ValueError("must be the name of a bucket alone, as clinic-files")
        return value

    @field_validator("s3_bulk_prefix")
    @classmethod
    def _is_outside_patients(cls, value: str) -> str:
        folder = value.strip("/") + "/"
        if folder == "/" or folder.startswith("patients/"):
            raise ValueError("must be a folder of its own, not patients/ or the whole bucket")
        return folder

    @model_validator(mode="after")
    def _require_archive_patient(self) -> Self:
        if self.nexus_files_of_gone_patients == "archive" and not self.nexus_archive_patient:
            raise ValueError("NEXUS_FILES_OF_GONE_PATIENTS is archive, so NEXUS_ARCHIVE_PATIENT must name the patient")
        return self

    @model_validator(mode="after")
    def _refuse_bucket_in_address(self) -> Self:
        if self.s3_bucket and urlsplit(self.s3_endpoint_url or "").path.endswith(f"/{self.s3_bucket}"):
            raise ValueError("S3_ENDPOINT_URL ends with the name of S3_BUCKET; it must be the server's address alone")
        return self

    @model_validator(mode="after")
    def _require_mail_addresses(self) -> Self:
        if self.smtp_host and not (self.smtp_from and self.smtp_to):
            raise ValueError("SMTP_HOST is set, so SMTP_FROM and SMTP_TO must be too")
        if self.smtp_username and self.smtp_security == "none":
            raise ValueError("SMTP_USERNAME needs SMTP_SECURITY=starttls or tls; no password is sent in the clear")
        return self


class _ClinicTime(_FromEnvironment):
    """The one setting that is needed while Dagster loads the definitions, when nothing else need be set."""

    clinic_time_zone: TimeZone = TIME_ZONE


class _Mapping(_FromEnvironment):
    """The other one, without which the graph shows only the tables that come with the pipeline."""

    filemaker_profile: str = PROFILE


def load_filemaker_profile(**overrides: object) -> str:
    """Read FILEMAKER_PROFILE alone, as `load_clinic_time_zone` reads its setting.

    Raises:
        SettingsError: `.env` cannot be used.
    """
    return _load(_Mapping, overrides).filemaker_profile


def load_clinic_time_zone(**overrides: object) -> str:
    """Read CLINIC_TIME_ZONE alone, from where `load_settings` reads it; Australia/Sydney if nobody has set it.

    Raises:
        SettingsError: it is no time zone, or `.env` cannot be used.
    """
    return _load(_ClinicTime, overrides).clinic_time_zone


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment.

    Args:
        overrides: values that win over the environment, by field name. What the environment does not say is read
            from the file that FM_PIPELINE_ENV_FILE names, or else from the `.env` that `find_env_file` finds.

    Raises:
        SettingsError: names each setting that is missing or wrong, never its value; or the file that cannot be read.
    """
    return _load(Settings, overrides)


def _load(kind: type[Kind], overrides: dict[str, object]) -> Kind:
    if (name := os.environ.get(ENV_FILE)) and (not os.path.exists(name) or os.path.isdir(name)):
        # pathlib raises for a name that is too long
        raise SettingsError(
            f"{ENV_FILE} names a file that is not there.",
            meaning="Without it, settings of another system might be taken.",
            remedy="Correct the name; a relative one is looked for in the current folder.",
        )
    file = overrides.setdefault("_env_file", name or find_env_file())
    if file:
        validate_env_file(Path(str(file)), [each.upper() for each in Settings.model_fields])
    try:
        read = kind(**overrides)  # type: ignore[arg-type]  # pydantic reads the rest from the environment
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        faults = "; ".join(
            f"{str(fault['loc'][0]).upper()}: {_plain_message(fault['msg'])}"
            if fault["loc"]
            else _plain_message(fault["msg"])
            for fault in found
        )
        it = "it" if len(found) == 1 and found[0]["loc"] else "them"
        raise SettingsError(
            f"The settings cannot be used: {faults}.",
            meaning="Nothing was begun.",
            remedy=f"Set {it} in the environment or in .env ({where_looked_for()}); .env.example lists all settings.",
        ) from None
    return _from_the_folder_of(file, read, overrides) if isinstance(file, Path) else read


def _from_the_folder_of(file: Path, read: Kind, overrides: Collection[str]) -> Kind:
    """Return the settings with relative paths as they are meant in the folder of `.env`; those typed now stay."""
    typed = {name.lower() for name in os.environ} | set(overrides)
    moved = {
        name: type(value)(file.parent / value) for name, value in read if name not in typed and _is_path(name, value)
    }
    return read.model_copy(update=moved)


def _is_path(name: str, value: object) -> bool:
    return not str(value).isidentifier() if name in _NAME_OR_PATH else isinstance(value, Path)


def _plain_message(message: str) -> str:
    """Pydantic's sentence without its word for our own."""
    return "is missing" if message == "Field required" else message.removeprefix("Value error, ")
