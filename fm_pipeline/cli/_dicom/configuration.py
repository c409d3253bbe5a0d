"""`fm-pipeline dicom configuration`: what is configured."""

from __future__ import annotations

import click

from fm_pipeline.cli._dicom._answer import Call, as_json_option, called, cells, table
from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.api.answers import configuration_answer
from fm_pipeline.dicom.configuration.configuration import SyncConfiguration, read_configuration


@click.command(name="configuration")
@as_json_option
def command(as_json: bool) -> None:
    """Show what is watched, how often, and where files are pulled from."""
    with called(as_json) as call:
        with connect(call.database_url) as connection:
            found = read_configuration(connection, call.settings)
        if as_json:
            call.answer(configuration_answer(found, call.zone))
        else:
            show_configuration(call, found)


def show_configuration(call: Call, configuration: SyncConfiguration) -> None:
    """A line for each setting, by the option that sets it."""
    answer = configuration_answer(configuration, call.zone)
    shown = table("setting", "value")
    for name in SyncConfiguration.model_fields:
        value = answer[name]
        shown.add_row(*cells(name, ("no", "yes")[value] if isinstance(value, bool) else value))
    call.console.print(shown)
    if configuration.updated_at is None:
        call.say("Nobody has written a configuration yet: this is what the environment says.")
