"""`fm-pipeline filemaker record`: how a server answers, without a value of a record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fm_pipeline.errors import FileMakerError
from fm_pipeline.pluralize import counted

if TYPE_CHECKING:
    from fm_pipeline.entities.profile import Profile

SHIPPED = ("nexus", "wep")  # profiles whose names say nothing about a clinic


@click.command(name="record")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file to write; an existing one is left alone.",
)
@click.option("--keep-names", is_flag=True, help="Keep your names of layouts, tables and fields too.")
@click.option(
    "--also-wrong-password",
    "wrong_password",
    is_flag=True,
    help="Log in with a wrong password too, once. The server may lock the account.",
)
def command(out: Path, keep_names: bool, wrong_password: bool) -> None:
    """Ask FileMaker Server what the pipeline asks, and write down how it answers, without a value of a record.

    Sends at most 40 requests, one at a time, to the Data API and OData. It reads only. The file keeps statuses, codes,
    shapes, types, forms of values and timings. Look at it before you send it to anyone.
    """
    from fm_pipeline.entities.profile import load_profile
    from fm_pipeline.filemaker.connect import require_filemaker
    from fm_pipeline.filemaker.recorder.asking import MISTAKES, Questions, record
    from fm_pipeline.filemaker.recorder.names import Names
    from fm_pipeline.settings import load_settings

    settings = load_settings(nexus_database_url="not asked")  # nothing is looked up in Nexus
    account = require_filemaker(settings)
    if out.exists():
        raise click.UsageError(f"{out} is there already.")
    profile = load_profile(settings.filemaker_profile)
    kept = {name for shipped in SHIPPED for name in _names(load_profile(shipped))}
    mappings = profile.entities.values()
    recording = record(
        Questions(
            account,
            [mapping.names("data_api") for mapping in mappings],
            [mapping.names("odata") for mapping in mappings],
            Names(kept, keep_all=keep_names),
            settings.filemaker_ca_bundle,
            settings.filemaker_timeout_seconds,
            wrong_password,
        )
    )
    requests = sum(1 for _ in recording.exchanges())
    if not requests:
        raise FileMakerError(
            "FileMaker Server answered no request.",
            meaning="There is nothing to record.",
            remedy="Run fm-pipeline check, which says what is wrong.",
        )
    with out.open("x", encoding="utf-8") as file:
        file.write(recording.text())
    click.echo(f"{counted(requests, 'request')} sent, nothing written on the server. {out} holds no value of a record.")
    if keep_names:
        click.echo("It holds your names of layouts, tables and fields.")
    for step in recording.steps:
        if step.client not in ("ok", "not used") and step.step not in MISTAKES:
            table = f" of {step.table}" if step.table else ""
            click.echo(f"Not understood: {step.step}{table} ({step.door}): {step.client}")


def _names(profile: Profile) -> Iterator[str]:
    """Yield the names that a profile gives to layouts, tables and fields."""
    for mapping in profile.entities.values():
        yield from mapping.names("data_api")
        yield from mapping.names("odata")
        for names in mapping.fields.values():
            yield from names
        if mapping.containers:
            yield from (*mapping.containers.best_first, mapping.containers.mark, *mapping.containers.date)
            yield from mapping.containers.category
        if mapping.sync:
            yield from mapping.sync.modified or ()
