"""`fm-pipeline stack`: the sandbox's servers up and down."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from fm_pipeline.cli._shared.interrupts import at_interrupt, exit_at_sigterm
from fm_pipeline.cli._shared.json_output import json_option
from fm_pipeline.errors import PipelineError

_PORT = click.IntRange(1, 65535)
_state_dir = click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".state"),
    show_default=True,
    help="Folder for everything the servers keep.",
)


@click.group(name="stack")
def command() -> None:
    """Servers to try the pipeline on: PostgreSQL, S3, a FileMaker stand-in, a mail catcher, Orthanc."""


@command.command()
@_state_dir
@click.option("--postgres-port", type=_PORT, help="Port of PostgreSQL.")
@click.option("--s3-port", type=_PORT, help="Port of the S3 server.")
@click.option("--filemaker-port", type=_PORT, help="Port of the FileMaker stand-in.")
@click.option("--smtp-port", type=_PORT, help="Port of the mail catcher.")
@click.option("--orthanc-port", type=_PORT, help="Port of Orthanc.")
@click.option(
    "--write-env",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the settings into a new file that only you can read; an existing one is left alone.",
)
def up(
    state_dir: Path,
    postgres_port: int | None,
    s3_port: int | None,
    filemaker_port: int | None,
    smtp_port: int | None,
    orthanc_port: int | None,
    write_env: Path | None,
) -> None:
    """Start the servers in the background and print the settings that point at them.

    Without a port option a server takes the port that it had last time, or a free one. Run again, it starts only
    what does not run.
    """
    from fm_pipeline.env_file import env_line
    from fm_pipeline.sandbox.stack.stack import Stack
    from fm_pipeline.sandbox.stack.state import SECRETS_FILE

    if write_env is not None:
        _refuse_existing_file(write_env)
    wanted = {
        "postgresql": postgres_port,
        "s3": s3_port,
        "filemaker": filemaker_port,
        "mail": smtp_port,
        "orthanc": orthanc_port,
    }
    exit_at_sigterm()
    stack = Stack(state_dir)
    env_line("STATE_DIR", str(stack.state_dir))  # refused before anything is started
    with at_interrupt("The servers that this command had started were stopped.", "Run it again to start them."):
        stack.up({name: port for name, port in wanted.items() if port is not None})
    lines = [
        *(f"# Not started, because it is not installed: {kind.name}" for kind in stack.missing),
        "# Settings of the sandbox. Its passwords were made for it alone and lie in",
        f"# {stack.state_dir / SECRETS_FILE} (mode 0600).",
        *(env_line(name, value) for name, value in stack.environment().items()),
    ]
    if write_env is None:
        _close_to_others(sys.stdout.fileno())
        click.echo("\n".join(lines))
    else:
        _write_new_file(write_env, lines)
        click.echo(f"The servers run. Their settings: {write_env}")


def _refuse_existing_file(file: Path) -> None:
    if os.path.lexists(file):
        raise PipelineError(
            f"{file} exists, so the settings of the sandbox were not written.",
            meaning="It may hold the settings of your real systems. It was left as it is, and nothing was started.",
            remedy="Name a file that does not exist: --write-env sandbox.env",
        )
    if not file.parent.is_dir():
        raise PipelineError(
            f"The folder of {file} does not exist.",
            meaning="Nothing was started.",
            remedy="Make it, or name another file.",
        )


def _write_new_file(file: Path, lines: Sequence[str]) -> None:
    """Create the file with mode 0600; never overwrite a file, not even one that was created meanwhile."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise PipelineError(
            f"{file} cannot be made: {error.strerror or type(error).__name__}.",
            meaning="The servers run; no file was changed.",
            remedy="Name another file with --write-env, or call it without to have the settings printed.",
        ) from None
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write("\n".join(lines) + "\n")


def _close_to_others(handle: int) -> None:
    """Restrict a file to its owner, because passwords are printed. A shell creates redirected files readable to all."""
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
        os.fchmod(handle, 0o600)


@command.command()
@_state_dir
def down(state_dir: Path) -> None:
    """Stop the servers, also after a crash. The data stay."""
    from fm_pipeline.sandbox.stack.stack import Stack

    stopped = Stack(state_dir).down()
    click.echo(f"Stopped: {', '.join(stopped)}." if stopped else "No server of this folder was running.")


@command.command()
@_state_dir
@json_option("Print JSON instead of a table.")
def status(state_dir: Path, as_json: bool) -> None:
    """Show which servers run, where, and where their logs are."""
    from rich.console import Console
    from rich.table import Table

    from fm_pipeline.sandbox.stack.stack import Stack

    rows = Stack(state_dir).status()
    if as_json:
        fields = [
            {"name": row.name, "alive": row.alive, "port": row.port, "pid": row.pid, "log": str(row.log)}
            for row in rows
        ]
        click.echo(json.dumps(fields, indent=2))
        return
    table = Table("service", "state", "address", "process")
    table.add_column("log", overflow="fold")
    for row in rows:
        state = "running" if row.alive else "stopped"
        address = f"127.0.0.1:{row.port}" if row.port else "-"
        table.add_row(row.name, state, address, str(row.pid or "-"), str(row.log))
    Console().print(table)
