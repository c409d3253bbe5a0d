"""`fm-pipeline reimport`: carry out a plan."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fm_pipeline.pluralize import rows_changed

if TYPE_CHECKING:
    from fm_pipeline.settings import Settings


class _FromPlan(click.types.StringParamType):
    """A text that a plan prints."""

    def get_missing_message(self, *_: object, **__: object) -> str:
        return "The last line of fm-pipeline plan is the whole command. A reimport takes all tables."


@click.command(name="reimport")
@click.option("--plan", "plan_id", type=_FromPlan(), required=True, help="Id of the plan that you have read.")
@click.option(
    "--confirm",
    type=_FromPlan(),
    required=True,
    help='The words that the plan shows: "<database> <number of patients>".',
)
@click.option("--requested-by", help="Who asks, for the audit trail.  [default: the user of this machine]")
def command(plan_id: str, confirm: str, requested_by: str | None) -> None:
    """Carry out a plan: read FileMaker again, back up, then delete, load, relink and validate in one transaction.

    If anything differs from the plan, or anything fails, Nexus stays as it is.
    """
    from fm_pipeline.filemaker.connect import require_source
    from fm_pipeline.settings import load_settings

    settings = load_settings()
    require_source(settings)

    from rich.console import Console

    from fm_pipeline.db.audit import operating_system_user
    from fm_pipeline.nexus.backup.backup import make_backup
    from fm_pipeline.nexus.reimport.plan import Permission
    from fm_pipeline.notifications.send_run_emails import run_emails
    from fm_pipeline.sequence.progress import run_progress
    from fm_pipeline.sequence.read_and_stage import read_and_stage
    from fm_pipeline.sequence.reimport import reimport, validate_plan_early
    from fm_pipeline.sequence.report_files import write_report
    from fm_pipeline.sequence.report_terminal import report_lines

    console = Console()

    def warn(sentence: str) -> None:
        console.print(sentence, style="yellow", soft_wrap=True, highlight=False)

    run_id = f"command-{uuid.uuid4()}"
    permission = Permission(plan_id, confirm, requested_by or operating_system_user())
    validate_plan_early(settings, permission, run_id=run_id)  # not after FileMaker was read for an hour
    with (
        _report_interruption(settings, run_id, warn),
        run_emails(settings, run_id, warn=warn, plan_id=plan_id),
        run_progress(settings, run_id, console=console) as progress,
    ):
        read_and_stage(settings, run_id=run_id, after_plan=True, on_step=progress.update)
        validate_plan_early(settings, permission, run_id=run_id, staged=True)  # nor after a backup
        make_backup(
            settings,
            now=datetime.now(UTC),
            run_id=run_id,
            on_progress=lambda step, done, total: progress.update(f"backup, {step}", done, total),
        )
        report = reimport(
            settings,
            now=datetime.now(UTC),  # not of before FileMaker was read: pages and emails name the reimport by it
            permission=permission,
            run_id=run_id,
            on_phase=progress.phases(),
        )
    folder = write_report(settings.nexus_database_url.get_secret_value(), settings.state_dir, report, warn=warn)
    console.print(*report_lines(report.as_dict()), sep="\n")
    where = f" The report lies in {folder}." if folder else ""
    console.print(f"Committed: {rows_changed(report.changed_rows)}.{where}", soft_wrap=True)


@contextmanager
def _report_interruption(settings: Settings, run_id: str, warn: Callable[[str], None]) -> Iterator[None]:
    """After Ctrl-C, print whether the database has committed the reimport."""
    from fm_pipeline.notifications.email_texts.reimport import COMMIT_SENTENCES
    from fm_pipeline.notifications.send_run_emails import read_commit_status

    try:
        yield
    except KeyboardInterrupt:
        warn(f"The reimport was interrupted. {COMMIT_SENTENCES[read_commit_status(settings, run_id).committed]}")
        raise
