"""Names that other people's scripts, bookmarks and tables hold: commands, options, exit codes, statuses, ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import yaml
from click.testing import CliRunner

from fm_pipeline.cli.main import main
from fm_pipeline.db import audit
from fm_pipeline.dicom import reasons
from fm_pipeline.dicom.choices import JOB_STATUSES, JOB_TYPES
from fm_pipeline.dicom.model import Outcome
from fm_pipeline.entities import rules
from fm_pipeline.images.containers import choices, report
from fm_pipeline.images.containers import import_ledger as container_ledger
from fm_pipeline.images.containers import reasons as container_reasons
from fm_pipeline.images.linking import copy_ledger, matching
from fm_pipeline.settings import Settings

SNAPSHOT = Path(__file__).with_name("commands_snapshot.txt")
DICOM_REASONS = (
    "SKIPPED",
    "ARCHIVES",
    "BAD",
    "UNREADABLE",
    "SUSPECT",
    "REFUSED",
    "REPEATED",
    "WITHHELD",
    "UNSENT",
    "NOT_TAKEN",
)


def _every_command(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{words} {name}", command
        if isinstance(command, click.Group):
            yield from _every_command(command, f"{words} {name}")


COMMANDS = dict(_every_command(main, "fm-pipeline"))


def _parameter(words: str, parameter: click.Parameter) -> str:
    choices = getattr(parameter.type, "choices", ())
    called = " ".join((*parameter.opts, *parameter.secondary_opts))
    return (
        f"{parameter.param_type_name} {words} {called} {parameter.type.name}"
        + (f" of {', '.join(map(str, choices))}" if choices else "")
        + (" required" if parameter.required else "")
        + (" multiple" if parameter.multiple or parameter.nargs == -1 else "")
    )


def _names() -> str:
    lines = [f"command {words}" for words in COMMANDS]
    lines += [_parameter(words, parameter) for words, command in COMMANDS.items() for parameter in command.params]
    lines += [f"setting {name.upper()}" for name in Settings.model_fields]
    statuses: dict[str, Any] = {
        "dicom job type": JOB_TYPES,
        "dicom job status": JOB_STATUSES,
        "dicom outcome": [outcome.value for outcome in Outcome],
        "audit action": get_args(audit.AuditAction),
        "audit outcome": get_args(audit.AuditOutcome),
        "image copy state": get_args(copy_ledger.CopyState),
        "container image state": get_args(container_ledger.ImportState),
        "container image outcome": get_args(report.OutcomeKind),
        "container image disagreement": get_args(choices.DisagreementKind),
        "rule action": get_args(rules.Action),
        "image link skip": matching.SKIP_REASONS,
        "image link error": matching.ERROR_REASONS,
        "container image skip": container_reasons.SKIPPED,
        "container image failure": container_reasons.FAILED,
        "dicom waiting": reasons.WAITING,
        "dicom stop": reasons.STOPPED,
    }
    statuses |= {f"dicom reason {name.lower()}": getattr(reasons, name) for name in DICOM_REASONS}
    lines += [f"{kind} {value}" for kind, values in statuses.items() for value in values]
    shipped = yaml.safe_load(Path(rules.__file__).with_name("rules.yaml").read_text("utf-8"))
    lines += [f"rule {name} {rule['action']} of {', '.join(rule['allowed'])}" for name, rule in shipped.items()]
    return "\n".join(sorted(lines)) + "\n"


def test_a_renamed_command_option_setting_status_reason_or_rule_is_a_decision() -> None:
    """They are in scripts, logs and rows. Write the snapshot anew if you mean it."""
    assert _names() == SNAPSHOT.read_text("utf-8")


@pytest.mark.parametrize("words", COMMANDS)
def test_wrong_usage_of_any_command_exits_with_2_and_its_help_with_0(words: str) -> None:
    typed = words.split()[1:]
    assert CliRunner().invoke(main, [*typed, "--no-such-option"]).exit_code == 2
    assert CliRunner().invoke(main, [*typed, "--help"]).exit_code == 0
