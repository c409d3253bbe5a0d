"""The whole link as one call, for the command. The Dagster assets call the same steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from functools import partial

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.audit import audited
from fm_pipeline.db.connection import connect
from fm_pipeline.db.run_reports import add_run_report
from fm_pipeline.errors import PipelineError
from fm_pipeline.images.exports.metadata_table import Dates, store_export
from fm_pipeline.images.exports.reader import Export
from fm_pipeline.images.linking.copier import OnProgress
from fm_pipeline.images.linking.inventory import take_inventory
from fm_pipeline.images.linking.report import LinkReport, make_report
from fm_pipeline.images.linking.review_lists import write_lists
from fm_pipeline.images.linking.steps import LinkOptions, copy_images, write_rows
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import Bucket


def link_images(
    settings: Settings,
    bucket: Bucket,
    export: Export,
    options: LinkOptions,
    *,
    actor: str,
    now: Callable[[], datetime],
    run_id: str | None = None,
    dates: Dates = "proved",
    on_progress: OnProgress = lambda *_: None,
    warn: Callable[[str], None],
) -> LinkReport:
    """Store the export, list the bulk dump, copy, verify, write.

    Args:
        actor: requester, for the audit trail.
        run_id: under which the report is stored, in the transaction that writes the rows; None to store none.
        warn: called if the lists of what is not linked cannot be written. What is linked is committed by then, and must
            not look like a failure.

    Raises:
        PipelineError: of any kind; finished copies are in the ledger, and Nexus has all rows or none.
    """
    url = settings.nexus_database_url.get_secret_value()
    with connect(url) as connection:
        store_export(connection, export, now=now(), run_id=run_id, dates=dates)
        inventory = take_inventory(
            connection,
            bucket,
            now=now(),
            run_id=run_id,
            on_progress=lambda done: on_progress("list the bulk dump", done, None, 0),
        )
    not_used = export.rejects_by_reason | ({"repeated": export.repeated} if export.repeated else {})
    report_of = partial(make_report, export.found, not_used, files=inventory.objects)
    if options.dry_run:
        copied, rows = copy_images(settings, bucket, options, now=now, on_progress=on_progress), None
    else:
        with audited(url, actor=actor, action="image_link", run_id=run_id):
            copied = copy_images(settings, bucket, options, now=now, on_progress=on_progress)
            on_progress("write rows", 0, None, 0)
            rows = write_rows(
                settings,
                now=now(),
                on_written=lambda cursor, written: _store(cursor, run_id, report_of(copied, written)),
            )
    try:
        write_lists(settings.state_dir / "images", export.rejects, copied, rows)
    except PipelineError as error:
        warn(str(error))
    return report_of(copied, rows)


def _store(cursor: Cursor, run_id: str | None, report: LinkReport) -> None:
    if run_id:
        add_run_report(cursor, run_id, "image_link", asdict(report))
