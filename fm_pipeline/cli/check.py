"""`fm-pipeline check`: the preflight, phase 0 of the import sequence."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from fm_pipeline.cli._shared.first_line import say_at_once
from fm_pipeline.cli._shared.json_output import json_option
from fm_pipeline.pluralize import counted

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from fm_pipeline.preflight.finding import Finding

STYLES = {"good": "green", "warning": "yellow", "stop": "bold red"}
MARKS = {"good": "✓", "warning": "!", "stop": "✗"}


@click.command(name="check")
@click.option("--full", is_flag=True, help="Read FileMaker's records too, and check each by the rules.")
@json_option("Print the findings, or the rules, as JSON.")
@click.option("--rules", "only_rules", is_flag=True, help="Print the rules that are in force, and check nothing.")
def command(full: bool, as_json: bool, only_rules: bool) -> None:
    """Look at FileMaker, Nexus, S3, the mail server and our own folder before anything is read or written.

    Without --full it writes to no database, and asks FileMaker only for layouts, fields and counts. With --full it
    stages the records in the schema fm_pipeline, as a plan does. Exits with 1 when something stops a reimport. It also
    checks what images and DICOM files need, if their settings are set; problems with these never stop a reimport.
    """
    if only_rules:
        _print_rules(as_json)
        return
    say_at_once("Looking at the settings, FileMaker, Nexus and the services …")

    from rich.console import Console

    from fm_pipeline.preflight.finding import stops
    from fm_pipeline.preflight.preflight import preflight
    from fm_pipeline.sequence.progress import Progress, terminal_sink
    from fm_pipeline.settings import load_settings

    settings = load_settings()
    console = Console(stderr=as_json)
    with Progress([terminal_sink(console, ZoneInfo(settings.clinic_time_zone))]) as progress:
        findings = preflight(settings, full=full, files=True, on_step=progress.update)
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in findings], indent=2, ensure_ascii=False))
    else:
        console.print(findings_table(findings))
        console.print(_verdict(findings, full=full))
    sys.exit(1 if stops(findings) else 0)


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return the findings for the terminal: a line each, and below a violation its remedy.

    Remedies for single records are shown only if they stop a reimport; `fm-pipeline check --json` has all of them.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table("", "what", "found", "rule", show_edge=False)
    area = ""
    for finding in findings:
        if finding.area != area:
            area = finding.area
            table.add_section()
            table.add_row("", Text(area, style="bold"))
        style = STYLES[finding.level]
        found = Text(finding.found)
        if finding.remedy and (finding.level == "stop" or finding.area != "records"):
            found.append(f"\n→ {finding.remedy}", style="italic")
        table.add_row(Text(MARKS[finding.level], style=style), finding.subject, found, Text(finding.rule, style=style))
    return table


def _verdict(findings: Sequence[Finding], *, full: bool) -> Text:
    from rich.text import Text

    from fm_pipeline.preflight.finding import stops
    from fm_pipeline.preflight.preflight import NOT_CHECKED

    stopping = stops(findings)
    if stopping:
        return Text(
            f"A reimport is stopped by {len(stopping)} of {counted(len(findings), 'finding')}.",
            style=STYLES["stop"],
        )
    warnings = sum(finding.level == "warning" for finding in findings)
    worth = f"; worth a look: {counted(warnings, 'finding')}" if warnings else ""
    if not full:
        return Text(
            f"Nothing that was looked at stops a reimport{worth}. {NOT_CHECKED}",
            style=STYLES["warning" if warnings else "good"],
        )
    return Text(f"Nothing stops a reimport{worth}.", style=STYLES["warning" if warnings else "good"])


def _print_rules(as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fm_pipeline.entities.rules import load_rules
    from fm_pipeline.settings import load_settings

    # Rules need no database, and overrides win over whatever the environment says of one.
    rules, shipped = load_rules(load_settings(nexus_database_url="not asked").rules_file), load_rules()
    rows = [
        {
            "rule": rule.id,
            "means": rule.means,
            "action": rule.action,
            "default": shipped[rule.id].action,
            "allowed": list(rule.allowed),
            "threshold": rule.threshold,
            "remedy": rule.remedy,
        }
        for rule in rules.by_id.values()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table("rule", "what it means", "action", "threshold", "may also", show_edge=False)
    for rule in rules.by_id.values():
        changed = rule != shipped[rule.id]
        others = ", ".join(action for action in rule.allowed if action != rule.action)
        action = Text(rule.action + (" (RULES_FILE)" if changed else ""), style="bold" if changed else "")
        table.add_row(rule.id, rule.means, action, rule.threshold, others or "–")
    Console().print(table)
