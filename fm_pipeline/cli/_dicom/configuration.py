"""`fm-pipeline dicom configuration`: show the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fm_pipeline.cli._dicom._context import CommandContext, as_json_option, cells, command_context, table

if TYPE_CHECKING:
    from fm_pipeline.dicom.configuration.configuration import SyncConfiguration


@click.command(name="configuration")
@as_json_option
def command(as_json: bool) -> None:
    """Show what is watched, how often, and where files are pulled from."""
    from fm_pipeline.db.connection import connect
    from fm_pipeline.dicom.api.response_data import configuration_data
    from fm_pipeline.dicom.configuration.configuration import read_configuration

    with command_context(as_json) as context:
        with connect(context.database_url) as connection:
            found = read_configuration(connection, context.settings)
        if as_json:
            context.print_json(configuration_data(found, context.zone))
        else:
            show_configuration(context, found)


def show_configuration(context: CommandContext, configuration: SyncConfiguration) -> None:
    """Print a line for each setting."""
    from fm_pipeline.dicom.api.response_data import configuration_data
    from fm_pipeline.dicom.configuration.configuration import SyncConfiguration

    answer = configuration_data(configuration, context.zone)
    shown = table("setting", "value")
    for name in SyncConfiguration.model_fields:
        value = answer[name]
        shown.add_row(*cells(name, ("no", "yes")[value] if isinstance(value, bool) else value))
    context.console.print(shown)
    if configuration.updated_at is None:
        context.print("No configuration has been written yet: these are the values of the environment.")
