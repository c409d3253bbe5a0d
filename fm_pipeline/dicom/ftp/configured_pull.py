"""Start a pull with the configuration: permission, lock, audit trail. The work itself is in `pull.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from psycopg2.extensions import connection as Connection

from fm_pipeline.db.audit import audited
from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.configuration.configuration import SyncConfiguration, read_configuration
from fm_pipeline.dicom.configuration.roots import allowed_path, excluded_folders
from fm_pipeline.dicom.ftp.ftp_ledger import FtpLedger, only_one_pull
from fm_pipeline.dicom.ftp.pull import Pull
from fm_pipeline.dicom.ftp.pull_report import PullReport
from fm_pipeline.dicom.ftp.retrying_session import RetryingFtpSession
from fm_pipeline.dicom.ftp.session import FtpServer
from fm_pipeline.dicom.watch.poll import paused
from fm_pipeline.dicom.watch.watched_directories import find_root
from fm_pipeline.errors import RequestError
from fm_pipeline.settings import Settings


def pull(
    settings: Settings,
    *,
    actor: str,
    run_id: str | None = None,
    on_progress: Callable[[PullReport], object] = lambda _: None,
) -> PullReport:
    """Pull new files from the configured server into its folder in the watched directory.

    Raises:
        RequestError: FTP is off or not configured, the directory does not exist or is not mounted where it was, or
            another pull runs.
        FtpError: the server refuses or is unavailable, or the local disk is full. The next pull continues.
    """
    database_url = settings.nexus_database_url.get_secret_value()
    migrate(database_url)
    with audited(database_url, actor=actor, action="dicom_ftp", run_id=run_id), connect(database_url) as connection:
        configuration = read_configuration(connection, settings)
        connection.commit()
        folder = _folder(settings, configuration)
        _refuse_another_disk(connection, configuration.hospital_data_path or "")
        server = server_of(settings, configuration)
        with only_one_pull(connection):
            session = RetryingFtpSession(server)
            ledger = FtpLedger(connection, server.name)
            left_out = excluded_folders(settings)
            one = Pull(session, ledger, folder, path=configuration.ftp_path, excluded=left_out, on_progress=on_progress)
            return one.run()


def server_of(settings: Settings, configuration: SyncConfiguration) -> FtpServer:
    """Return the configured server with the password of the environment."""
    return FtpServer(
        host=configuration.ftp_host or "",
        port=configuration.ftp_port,
        username=configuration.ftp_username or "anonymous",
        password=settings.ftp_password.get_secret_value() if settings.ftp_password else "",
        passive=configuration.ftp_passive,
        security=configuration.ftp_security,
        ca_bundle=settings.ftp_ca_bundle,
    )


def _folder(settings: Settings, configuration: SyncConfiguration) -> Path:
    if not (configuration.ftp_enabled and configuration.ftp_configured and configuration.hospital_data_path):
        raise RequestError(
            "Pulling from an FTP server is off.",
            meaning="Nothing was pulled.",
            remedy="fm-pipeline dicom configure --ftp-enabled --ftp-host HOST --ftp-username NAME, and FTP_PASSWORD.",
        )
    # Checked on every pull: if the disk is not mounted, the files would end up below its mount point.
    watched = Path(allowed_path(settings, configuration.hospital_data_path))
    return watched / configuration.ftp_folder


def _refuse_another_disk(connection: Connection, watched: str) -> None:
    """Refuse if the watched directory lies on another mount point than before: its disk may be missing."""
    with connection.cursor() as cursor:
        remembered = find_root(cursor, watched, lock=False)
    connection.commit()
    if paused(watched, remembered) == "not_mounted":
        raise RequestError(
            "The watched directory is not mounted where it was.",
            meaning="Nothing was pulled: the files would lie on another disk.",
            remedy="Mount it. If it was moved on purpose, save its path again, and nothing else: fm-pipeline dicom"
            " configure --hospital-data-path PATH.",
        )
