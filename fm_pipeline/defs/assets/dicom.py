"""The import of DICOM files: what the hospital's directory holds, and what of it is in Orthanc. One job, one run.

Two assets of one step, because the first upload starts before the scan ends. No partitions: a key would stay for ever,
and a job is best read as one materialization among others along the time.
"""

import time
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from fm_pipeline.defs.assets.metadata import row_count
from fm_pipeline.defs.assets.own_run import System
from fm_pipeline.defs.assets.plots import bar_chart
from fm_pipeline.defs.assets.tables import own_table
from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.names import MAX_RUNTIME_TAG, OWNERS
from fm_pipeline.defs.requester import REMARK, requester
from fm_pipeline.defs.resources import NexusTarget, OrthancTarget
from fm_pipeline.dicom.api.requests import carry_out, prepare_import
from fm_pipeline.dicom.formats import size_formatted
from fm_pipeline.dicom.ftp.configured_pull import pull
from fm_pipeline.dicom.history.jobs import keep_cancelled
from fm_pipeline.dicom.history.summary import JobSummary, summarize
from fm_pipeline.dicom.log import import_log
from fm_pipeline.errors import FtpError, PipelineError, RequestError
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import run_progress
from fm_pipeline.settings import Settings

DICOM = "dicom"
# Its own: an import of a day must not keep a reimport waiting, and two imports must not overlap.
DICOM_POOL = "dicom"
STEP = "imported_dicom_files"
INVENTORY, INSTANCES = dg.AssetKey("dicom_inventory"), dg.AssetKey("orthanc_instances")
SYSTEM = System("The import of DICOM files", job="dicom_import", group=DICOM, assets=frozenset({INVENTORY, INSTANCES}))
# An import runs when there is something new. A weekend without a new file is usual. A hospital makes images every
# week, so after seven days without one the directory, the sensor or Orthanc has failed.
NOTHING_FOR_DAYS, NOTHING_FOR_LONG = timedelta(days=3), timedelta(days=7)
# The run tag that counts the attempts of a job.
JOB_TAG = "fm_pipeline/dicom_job"
EVERY_DIRECTORY, BELOW_THRESHOLD, ALL_IN_ORTHANC = (
    "every_directory_was_read",
    "failures_below_threshold",
    "all_in_orthanc",
)


class JobKind(Enum):
    """`choices.JOB_TYPES`. Dagster's configuration takes the names of an enumeration, not its values."""

    initial = "initial"
    incremental = "incremental"
    manual = "manual"


class DicomImportConfig(dg.Config):
    """Which job. No path: Dagster keeps a configuration for ever, and folders may be named after patients."""

    job_id: int = Field(
        default=0,
        description="Id of a job that exists (`fm-pipeline dicom import PATH --prepare` makes one); it is carried"
        " out, or resumed. 0: a new job for the configured directory.",
    )
    job_type: JobKind = Field(
        default=JobKind.incremental,
        description="Of a new job. incremental does not open what history has as it is.",
    )
    chunk: int = Field(default=0, description="Number of the last chunk of a job in chunks, from dicom_chunks.")
    requested_by: str = Field(default="", description=REMARK)
    threads: int = Field(default=4, ge=1, le=32, description="Parallel uploads; more than 4 were not faster.")
    verify_md5: bool = Field(default=False, description="Compare also the MD5 of every instance afterwards.")
    max_failure_percent: float = Field(
        default=5.0, ge=0, le=100, description="Above it the check failures_below_threshold warns."
    )
    pull_from_ftp: bool = Field(default=False, description="Pull what is new from the configured FTP server first.")


@dg.multi_asset(
    name=STEP,
    specs=[
        dg.AssetSpec(
            INVENTORY,
            group_name=DICOM,
            owners=OWNERS,
            kinds={"file", "dicom"},
            description="The files that an import has met in the hospital's directory, and how each of them ended.",
            metadata=own_table("import_history"),
            freshness_policy=dg.FreshnessPolicy.time_window(fail_window=NOTHING_FOR_LONG, warn_window=NOTHING_FOR_DAYS),
        ),
        dg.AssetSpec(
            INSTANCES,
            deps=[INVENTORY],
            group_name=DICOM,
            owners=OWNERS,
            kinds={"orthanc", "dicom"},
            description="What of them Orthanc holds, compared by ids after the import. orthanc_instances and the like"
            " are all that it holds, also from earlier jobs.",
        ),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            EVERY_DIRECTORY,
            asset=INVENTORY,
            description="Every folder could be read. Files in one that could not are not imported: look at its rights.",
        ),
        dg.AssetCheckSpec(
            BELOW_THRESHOLD,
            asset=INVENTORY,
            description="Few files failed or are damaged: 5 % at most, unless the run says otherwise. The console lists"
            " each with its reason: page DICOM, then the job.",
        ),
        dg.AssetCheckSpec(
            ALL_IN_ORTHANC,
            asset=INSTANCES,
            description="Asked again at the end, Orthanc still has every instance that it had confirmed. If not, resume"
            " the job: it sends again what is missing.",
        ),
    ],
    pool=DICOM_POOL,
)
def imported_dicom_files(
    context: dg.AssetExecutionContext, config: DicomImportConfig, nexus: NexusTarget, orthanc: OrthancTarget
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]  # Dagster knows only the bare class
    """Carry out one import job. Cancelling the run ends the job cleanly; it can be resumed."""
    from fm_pipeline.dicom.importer.run_job import ImportOptions  # noqa: PLC0415  # slow to import

    with explained():
        SYSTEM.refuse_wider_selection(context)
        settings = nexus.prepare().settings
        actor = requester(context, settings, config.requested_by)
    database_url = settings.nexus_database_url.get_secret_value()
    run_id = context.run.run_id
    with explained(), import_log(settings):
        not_pulled = _pull(context, settings, actor) if config.pull_from_ftp else None
        job_id = config.job_id or prepare_import(settings, None, config.job_type.value, actor=actor).id
        context.log.info(f"Import job {job_id}. From a terminal: fm-pipeline dicom status {job_id}")
        options = ImportOptions(threads=config.threads, verify_md5=config.verify_md5)
        with run_progress(settings, run_id, log=context.log.info) as progress:
            try:
                job = carry_out(
                    settings,
                    job_id,
                    actor=actor,
                    run_id=run_id,
                    on_progress=progress.update,
                    options=options,
                    chunk=config.chunk or None,
                )
            except BaseException:
                if terminated(context):
                    keep_cancelled(database_url, job_id)
                raise
        if job.status != "completed":
            state = "was cancelled on request" if job.status == "cancelled" else f"is {job.status}"
            raise PipelineError(
                f"Import job {job_id} {state}, after {counted(job.files_processed, 'file')}.",
                meaning="What was on its way to Orthanc is on record.",
                remedy=f"To go on with it, launch dicom_import with job_id: {job_id}",
            )
        summary = summarize(database_url, job_id)
        held = orthanc.holds()
    yield _inventory(summary, config.max_failure_percent)
    yield _instances(summary, held)
    if not_pulled:
        with explained():
            raise not_pulled


def _pull(context: dg.AssetExecutionContext, settings: Settings, actor: str) -> FtpError | RequestError | None:
    """Pull from the FTP server. Return the error instead of raising it: the import must not wait for the server."""
    try:
        pulled = pull(settings, actor=actor, run_id=context.run.run_id)
    except (FtpError, RequestError) as error:  # the latter: somebody else pulls, or has just switched it off
        context.log.warning(f"{error} What lies here is imported all the same; then this run fails.")
        return error
    context.log.info(f"FTP: {counted(pulled.pulled, 'file')} pulled, {pulled.known:,} known, {pulled.listed:,} there")
    if pulled.kept:
        context.log.info(f"FTP: {counted(pulled.kept, 'earlier file')} kept under another name (docs/dicom.md).")
    if pulled.missing:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in pulled.skipped.most_common())
        folders = counted(pulled.unlisted_folders, "folder")
        context.log.warning(
            f"Not everything on the FTP server is here: {folders} not listed; {reasons or 'no name'} skipped."
            " docs/dicom.md says what each reason means."
        )
    return None


def terminated(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> bool:
    """Whether somebody has pressed "Terminate"; at a machine's end the run's process gets a signal only.

    At its time limit Dagster calls a run "canceling" too, for the moment before it is "failed".
    """
    record = context.instance.get_run_record_by_id(context.run.run_id)
    if record is None or record.dagster_run.status is not dg.DagsterRunStatus.CANCELING:
        return False
    # A run of "Materialize" does not have the tag of the job.
    limit = float(
        record.dagster_run.tags.get(MAX_RUNTIME_TAG) or context.instance.run_monitoring_max_runtime_seconds or 0
    )
    return not limit or record.start_time is None or time.time() < record.start_time + limit


def _inventory(summary: JobSummary, max_failure_percent: float) -> dg.MaterializeResult:  # type: ignore[type-arg]
    job = summary.job
    reasons = [(f"{outcome}: {reason}" if reason else outcome, n) for (outcome, reason), n in summary.by_reason.items()]
    return dg.MaterializeResult(
        asset_key=INVENTORY,
        metadata=row_count(
            job.files_processed,
            job_id=str(job.id),  # a text: numbers are plotted
            job_type=job.job_type,
            total_size_bytes=job.total_size_bytes,
            total_size=size_formatted(job.total_size_bytes),
            files_unchanged=job.files_unchanged,
            directories_unreadable=job.directories_unreadable,
            **{f"files_{outcome}": count for outcome, count in job.outcomes.items()},
            not_imported=dg.MetadataValue.md(
                bar_chart(("not imported because of", "files"), reasons, "{:,.0f}".format) or _all_taken(summary)
            ),
            to_look_at=dg.MetadataValue.md(
                bar_chart(("flag", "files"), list(summary.by_flag.items()), "{:,.0f}".format) or "No file is flagged."
            ),
        ),
        check_results=[
            dg.AssetCheckResult(
                check_name=EVERY_DIRECTORY,
                asset_key=INVENTORY,
                passed=not job.directories_unreadable,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"{counted(job.directories_unreadable, 'directory', 'directories')} could not be read.",
                metadata={"directories_unreadable": job.directories_unreadable},
            ),
            dg.AssetCheckResult(
                check_name=BELOW_THRESHOLD,
                asset_key=INVENTORY,
                passed=summary.failure_percent <= max_failure_percent,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"{summary.failures:,} of {counted(job.files_processed, 'file')} failed or bad,"
                f" {summary.failure_percent:.1f} % (warns above {max_failure_percent:g} %). Which and why, on a"
                f" terminal: fm-pipeline dicom history --job-id {job.id}",
                metadata={
                    "failures": summary.failures,
                    "percent": round(summary.failure_percent, 2),
                    "threshold_percent": max_failure_percent,
                },
            ),
        ],
    )


def _all_taken(summary: JobSummary) -> str:
    """What is said where no file was left out: a job that met nothing new has imported nothing."""
    job = summary.job
    there = job.files_processed - job.files_imported
    if job.files_imported:
        return f"No file was left out: {counted(job.files_imported, 'file')} imported, {there:,} already there."
    if there:
        return f"Nothing was imported: {counted(there, 'file was', 'files were')} already there."
    if job.files_unchanged:
        return f"Nothing was new: {counted(job.files_unchanged, 'file')} as an earlier job has recorded."
    return "There was no file."


def _instances(summary: JobSummary, held: dict[str, Any]) -> dg.MaterializeResult:  # type: ignore[type-arg]
    job = summary.job
    expected, missing, differing = (
        count or 0 for count in (job.instances_expected, job.instances_missing, job.instances_differing)
    )
    return dg.MaterializeResult(
        asset_key=INSTANCES,
        metadata=row_count(
            summary.in_orthanc,
            job_id=str(job.id),  # a text: numbers are plotted
            new_instances=job.files_imported,
            new_bytes=summary.imported_bytes,
            new_size=size_formatted(summary.imported_bytes),
            **held,
            by_modality=dg.MetadataValue.md(_chart("modality", summary.by_modality)),
            by_month=dg.MetadataValue.md(_chart("month of study", summary.by_month)),
        ),
        check_results=[
            dg.AssetCheckResult(
                check_name=ALL_IN_ORTHANC,
                asset_key=INSTANCES,
                passed=not missing and not differing,
                description=f"{counted(expected, 'instance')} expected, {missing:,} missing, {differing:,} differing.",
                metadata={"expected": expected, "missing": missing, "differing": differing},
            )
        ],
    )


def _chart(head: str, counts: dict[str, int]) -> str:
    return bar_chart((head, "instances"), list(counts.items()), "{:,.0f}".format) or "No instance."
