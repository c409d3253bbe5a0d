"""`fm-pipeline demo`: a synthetic clinic, reimported by a Dagster run, compared with its oracle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from fm_pipeline.cli._shared.interrupts import at_interrupt, exit_at_sigterm, restore_sigint
from fm_pipeline.errors import PipelineError

QUICK_SCALE = 0.05


@click.command(name="demo")
@click.option("--quick", is_flag=True, help="A twentieth of the clinic: --scale 0.05.")
@click.option("--once", is_flag=True, help="Exit after the report: 0 if all comparisons hold, 1 if not.")
@click.option(
    "--scale", type=click.FloatRange(min=0.01, max=50), default=1.0, show_default=True, help="Size of the clinic."
)
@click.option(
    "--as-found",
    is_flag=True,
    help="The clinic with all defects of the real one: first the stop with its list, then the policy.",
)
@click.option(
    "--profile",
    type=click.Choice(["nexus", "wep"]),
    help="Whose layouts FileMaker has.  [default: nexus; with --as-found wep]",
)
@click.option(
    "--without",
    type=click.Choice(["dicom"]),
    help="Leave DICOM out. Otherwise the demo fails if it cannot get Orthanc.",
)
@click.option("--install", is_flag=True, help="Install Orthanc with apt-get; without this it is only unpacked.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as JSON.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Port of the console.  [default: 3000 if it is free; with --once a free one]",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".state/demo"),
    show_default=True,
    help="Folder of the demo; it is emptied each time. No other folder than a demo's is touched.",
)
def command(  # its options
    *,
    quick: bool,
    once: bool,
    scale: float,
    as_found: bool,
    profile: Literal["nexus", "wep"] | None,
    without: Literal["dicom"] | None,
    install: bool,
    report: Path | None,
    port: int | None,
    state_dir: Path,
) -> None:
    """Reimport a synthetic clinic of the real size, and show it in the console and in Dagster behind it.

    Starts PostgreSQL, S3, the FileMaker stand-in, a mail catcher and the console on 127.0.0.1, fills them, launches the
    job full_reimport and compares the result with the expected one. Ctrl-C ends everything that it started.
    """
    if report and not report.parent.is_dir():
        raise click.UsageError(f"The folder of --report does not exist: {report.parent}")

    exit_at_sigterm()
    restore_sigint("Stopping what the demo has started: up to half a minute …")
    profile = profile or ("wep" if as_found else "nexus")
    with at_interrupt("What the demo had started was stopped.", "The next demo begins anew."):
        from fm_pipeline.sandbox.stack.ports import free_port

        try:
            from fm_pipeline.sandbox.demo.demo import Demo  # imports Dagster, which takes a second
        except ModuleNotFoundError as error:
            raise PipelineError(
                f"The demo needs a package that is not installed: {error.name}.",
                remedy="Start it with scripts/demo, or install it: pip install -c constraints.txt '.[sandbox]'",
            ) from None

        port = port or (free_port() if once else None)
        demo = Demo(
            state_dir,
            scale=QUICK_SCALE if quick else scale,
            port=port,
            profile=profile,
            as_found=as_found,
            dicom=not without,
            install=install,
        )
        with demo:
            held = demo.run(report)
            if not once:
                demo.wait()
    sys.exit(0 if held else 1)
