"""`fm-pipeline stack`: the sandbox's servers up and down."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from fm_pipeline.sandbox.stack.stack import Stack
from fm_pipeline.sandbox.stack.state import SECRETS_FILE

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
def up(
    state_dir: Path,
    postgres_port: int | None,
    s3_port: int | None,
    filemaker_port: int | None,
    smtp_port: int | None,
    orthanc_port: int | None,
) -> None:
    """Start the servers in the background and print the settings that point at them.

    Without a port option a server takes the port that it had last time, or a free one. Run again, it starts only
    what does not run. Standard output is made for a file: `fm-pipeline stack up > .env`.
    """
    wanted = {
        "postgresql": postgres_port,
        "s3": s3_port,
        "filemaker": filemaker_port,
        "mail": smtp_port,
        "orthanc": orthanc_port,
    }
    stack = Stack(state_dir)
    stack.up({name: port for name, port in wanted.items() if port is not None})
    for kind in stack.missing:
        click.echo(f"# Not started, because it is not installed: {kind.name}")
    click.echo("# Settings of the sandbox: put them into .env, or source them with `set -a`.")
    click.echo("# The passwords were made for this sandbox alone and lie in")
    click.echo(f"# {stack.state_dir / SECRETS_FILE} (mode 0600).")
    for name, value in stack.environment().items():
        click.echo(f"{name}={shlex.quote(value)}")


@command.command()
@_state_dir
def down(state_dir: Path) -> None:
    """Stop the servers, also after a crash. The data stay."""
    Stack(state_dir).down()


@command.command()
@_state_dir
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def status(state_dir: Path, as_json: bool) -> None:
    """Show which servers run, where, and where their logs are."""
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
