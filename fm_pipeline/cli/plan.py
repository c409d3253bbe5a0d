"""`fm-pipeline plan`: what a reimport would do."""

from __future__ import annotations

import json
import shlex
import uuid
from datetime import UTC, datetime

import click

from fm_pipeline.cli._shared.first_line import say_at_once
from fm_pipeline.cli._shared.json_output import json_option
from fm_pipeline.cli._shared.program_name import program_name
from fm_pipeline.pluralize import counted


@click.command(name="plan")
@click.option("--requested-by", help="Who asks, for the audit trail.  [default: the user of this machine]")
@json_option("Print the plan as JSON.")
def command(requested_by: str | None, as_json: bool) -> None:
    """Read FileMaker, stage, and show what a reimport would do. Nexus is not changed.

    It does everything that the reimport does and rolls it back. The id and the words at the end are what
    `fm-pipeline reimport` asks for; they are void as soon as FileMaker's data, Nexus or a setting changes.
    """
    say_at_once("Connecting to FileMaker and Nexus …")

    from fm_pipeline.filemaker.connect import require_source
    from fm_pipeline.settings import load_settings

    settings = load_settings()
    require_source(settings)

    from rich.console import Console

    from fm_pipeline.db.audit import operating_system_user
    from fm_pipeline.sequence.progress import run_progress
    from fm_pipeline.sequence.read_and_stage import read_and_stage
    from fm_pipeline.sequence.reimport import make_plan
    from fm_pipeline.sequence.report_terminal import report_lines

    console = Console(stderr=as_json)
    run_id = f"command-{uuid.uuid4()}"
    with run_progress(settings, run_id, console=console) as progress:
        read_and_stage(settings, run_id=run_id, on_step=progress.update)
        plan = make_plan(
            settings,
            now=datetime.now(UTC),
            actor=requested_by or operating_system_user(),
            run_id=run_id,
            on_phase=progress.phases(prefix="plan, "),
        )
    if as_json:
        click.echo(json.dumps({"id": plan.id, "confirm": plan.confirmation, "report": plan.report.as_dict()}, indent=2))
        return
    console.print(*report_lines(plan.report.as_dict()), sep="\n")
    console.print(f"\nNexus is unchanged. {counted(plan.report.changed_rows, 'row')} would change. To carry it out:\n")
    click.echo(f"{program_name()} reimport --plan {plan.id} --confirm {shlex.quote(plan.confirmation)}")
