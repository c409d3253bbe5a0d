"""`fm-pipeline filemaker replay`: compares the stand-in with a recording."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fm_pipeline.errors import PipelineError
from fm_pipeline.pluralize import counted

if TYPE_CHECKING:
    from fm_pipeline.filemaker.recorder.recording import Recording


@click.command(name="replay")
@click.argument("recording", type=click.Path(dir_okay=False, path_type=Path))
def command(recording: Path) -> None:
    """Ask the stand-in what a recording has asked a server, and list where the answers differ.

    Exits with 0 if they are equal and with 1 if not. If a switch of the stand-in explains a difference, the list names
    the switch. Needs the extra sandbox.
    """
    from fm_pipeline.filemaker.recorder.recording import load_recording

    recorded = load_recording(recording)
    try:
        from fm_pipeline.sandbox.filemaker.replay.replay import replay  # the extra may be missing
    except ModuleNotFoundError as error:
        raise PipelineError(
            f"The replay needs a package that is not installed: {error.name}.",
            remedy="Install it: pip install -c constraints.txt '.[sandbox]'",
        ) from None
    result = replay(recorded)
    click.echo(f"Server {recorded.version or 'of unknown version'}, {counted(len(recorded.steps), 'question')}.")
    where = ""
    for each in result.found:
        if each.where != where:
            click.echo(f"\n{each.where}")
        where = each.where
        switch = result.switches.get(each)
        click.echo(f"  {each.what}" + (f"  [{switch}]" if switch else ""))
    click.echo(f"\nSlowest answer: {_slowest(recorded)}; of the stand-in: {_slowest(result.answered)}.")
    if not result.found:
        click.echo("The stand-in answers as this server does.")
        return
    explained = sorted(set(result.switches.values()))
    click.echo(f"{counted(len(result.found), 'difference')}, {len(result.left)} that no switch explains.")
    if explained:
        click.echo(f"Switches of the stand-in (docs/stand-in.md): {', '.join(explained)}")
    sys.exit(1)


def _slowest(recording: Recording) -> str:
    timed = [
        (exchange.milliseconds, f"{step.step} of {step.table}" if step.table else step.step)
        for step in recording.steps
        for exchange in step.exchanges
    ]
    milliseconds, what = max(timed, default=(0, "none"))
    return f"{milliseconds:,} ms ({what})"
