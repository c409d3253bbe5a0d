"""`fm-pipeline dicom configure`: change the configuration at run time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from fm_pipeline.cli._dicom._context import as_json_option, command_context
from fm_pipeline.cli._dicom.configuration import show_configuration


@click.command(name="configure")
@click.option("--hospital-data-path", help="Directory to watch and import; under an allowed root.")
@click.option("--orthanc-storage-path", help="Where Orthanc keeps its files; for information only.")
@click.option("--monitoring-enabled/--no-monitoring-enabled", default=None, help="Import new files automatically.")
@click.option("--monitoring-interval", type=int, help="Seconds between two looks at the directory, 10 or more.")
@click.option("--quiet-period", type=int, help="Seconds without a change before a file is imported.")
@click.option("--files-per-job", type=int, help="The most files of one job that the sensor starts.")
@click.option("--sync-enabled/--no-sync-enabled", default=None, help="Let the nightly schedule import everything new.")
@click.option("--sync-interval", type=int, help="Minimum seconds between two scheduled imports.")
@click.option("--ftp-enabled/--no-ftp-enabled", default=None, help="Let `dicom ftp` pull files.")
@click.option("--ftp-host", help="FTP server to pull from.")
@click.option("--ftp-port", type=int, help="Its port.")
@click.option("--ftp-username", help="Account on it; the password is the setting FTP_PASSWORD.")
@click.option("--ftp-path", help="Folder on it, from /.")
@click.option("--ftp-passive/--no-ftp-passive", default=None, help="Passive mode, which most firewalls need.")
@click.option(
    "--ftp-security",
    type=click.Choice(["tls", "tls_unverified", "none"]),
    help="tls verifies the certificate; tls_unverified only encrypts; none sends the password in the clear.",
)
@click.option("--ftp-folder", help="Folder in the watched directory where pulled files go.")
@as_json_option
def command(as_json: bool, **given: Any) -> None:
    """Change the settings that are named; the others stay. The sensor follows at its next tick."""
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("Name at least one setting; `fm-pipeline dicom configuration` shows them.")

    from fm_pipeline.dicom.api.response_data import configuration_data
    from fm_pipeline.dicom.configuration.configuration import configure

    with command_context(as_json) as context:
        after = configure(context.settings, changes, actor=context.actor, now=datetime.now(UTC))
        if as_json:
            message = "Hospital data path configuration saved successfully"
            context.print_json(configuration_data(after, context.zone), message)
        else:
            show_configuration(context, after)
