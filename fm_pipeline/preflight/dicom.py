"""Check what only DICOM files need: Orthanc and the hospital's directory. Nothing is written to either.

Findings contain no path, because it may contain a name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.configuration.configuration import SyncConfiguration, read_configuration_if_migrated
from fm_pipeline.dicom.configuration.roots import allowed_path, excluded_folders
from fm_pipeline.errors import DatabaseError, RequestError, SettingsError
from fm_pipeline.pluralize import counted
from fm_pipeline.preflight.certificates import TlsServer, check_certificates
from fm_pipeline.preflight.finding import Finding, FindingBuilder
from fm_pipeline.preflight.orthanc import check_disk, check_instances, check_orthanc
from fm_pipeline.settings import Settings


def check_dicom(settings: Settings, build: FindingBuilder, *, with_configuration: bool = True) -> Iterator[Finding]:
    """Check each of them that is configured.

    Args:
        with_configuration: read the configuration from the database, and check what it names.
    """
    if settings.orthanc_url:
        yield from _orthanc(settings, build)
    if not with_configuration:
        return
    try:
        with connect(settings.nexus_database_url.get_secret_value()) as connection:
            configuration = read_configuration_if_migrated(connection, settings)
            if settings.orthanc_url:
                yield from check_instances(settings, connection, build)
    except (DatabaseError, RequestError) as error:
        yield build.from_error("dicom_path_unusable", "configuration", error)
        return
    if settings.orthanc_url and configuration.orthanc_storage_path:
        yield from check_disk(configuration.orthanc_storage_path, build)
    if configuration.ftp_enabled and configuration.ftp_host and configuration.ftp_security == "tls":
        server = TlsServer("the FTP server", configuration.ftp_host, configuration.ftp_port, "ftp")
        yield from check_certificates(settings, [server], build)
    if configuration.hospital_data_path:
        yield from _directory(configuration.hospital_data_path, settings, configuration, build)


def _orthanc(settings: Settings, build: FindingBuilder) -> Iterator[Finding]:
    try:
        yield from check_orthanc(settings, build)
    except SettingsError as error:
        yield build.from_error("orthanc_unreachable", "Orthanc", error)


def _directory(
    path: str, settings: Settings, configuration: SyncConfiguration, build: FindingBuilder
) -> Iterator[Finding]:
    watched = (
        f"looked at every {counted(configuration.monitoring_interval, 'second')}"
        if configuration.monitoring_enabled
        else "not watched"
    )
    try:
        with os.scandir(allowed_path(settings, path)) as entries:
            empty = next(entries, None) is None
    except RequestError as error:
        yield build.from_error("dicom_path_unusable", "directory", error)
    except OSError as error:
        found = error.strerror or type(error).__name__  # without the path
        yield build.violation("dicom_path_unusable", "directory", f"cannot be listed ({found}); {watched}")
    else:
        if empty:
            yield build.violation("dicom_path_empty", "directory", f"has nothing in it; {watched}")
        else:
            excluded = excluded_folders(settings).excluded_part(path)
            named = "; by its name it holds deleted files or snapshots" if excluded else ""
            yield build.ok("directory", f"can be listed, and lies in an allowed root{named}; {watched}")
    if configuration.monitoring_enabled and not settings.orthanc_url:
        yield build.violation("orthanc_unreachable", "Orthanc", "the directory is watched, and ORTHANC_URL is not set")
