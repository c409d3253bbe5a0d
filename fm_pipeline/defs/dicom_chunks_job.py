"""The job of an import that several hosts share: its first run cuts the directory, each other one imports one chunk.

The last chunk, the comparison with Orthanc, is a run of `dicom_import`: it materializes the assets, with the numbers of
the whole import.
"""

from contextlib import suppress

import dagster as dg
from pydantic import Field

from fm_pipeline.defs.assets.dicom import DICOM_POOL, JobKind, terminated
from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.names import MAX_RUNTIME_TAG
from fm_pipeline.defs.requester import REMARK, requester
from fm_pipeline.defs.resources import NexusTarget, OrthancTarget
from fm_pipeline.dicom.api.requests import carry_out, prepare_shared_import, start_shared_import
from fm_pipeline.dicom.history.jobs import request_cancel
from fm_pipeline.dicom.log import import_log
from fm_pipeline.errors import RequestError
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import run_progress

CHUNK_STEP = "import_dicom_chunk"


class DicomChunksConfig(dg.Config):
    """Which job or chunk. No path: Dagster keeps a configuration for ever, and folders may be named after patients."""

    job_id: int = Field(
        default=0,
        description="Id of a job in chunks that exists (`fm-pipeline dicom import PATH --chunks --prepare` makes"
        " one); it is started or resumed. 0: list the configured directory, cut it into chunks, and start.",
    )
    job_type: JobKind = Field(default=JobKind.incremental, description="Of a new job.")
    chunk: int = Field(default=0, description="Number of a chunk of the job. The sensor dicom_chunks gives it.")
    requested_by: str = Field(default="", description=REMARK)
    threads: int = Field(default=4, ge=1, le=32, description="Parallel uploads; more than 4 were not faster.")


@dg.op(name=CHUNK_STEP, pool=DICOM_POOL)
def import_dicom_chunk(
    context: dg.OpExecutionContext, config: DicomChunksConfig, nexus: NexusTarget, orthanc: OrthancTarget
) -> None:
    """Start a job in chunks, or import one chunk. Terminating a chunk's run cancels the job."""
    from fm_pipeline.dicom.importer.run_job import ImportOptions  # noqa: PLC0415  # slow to import

    with explained():
        settings = nexus.prepare().settings
        actor = requester(context, settings, config.requested_by)
    run_id = context.run.run_id
    with explained(), import_log(settings):
        if not config.chunk:
            job_id = config.job_id or prepare_shared_import(settings, None, config.job_type.value, actor=actor).id
            job = start_shared_import(settings, job_id, actor=actor, run_id=run_id)
            context.log.info(
                f"Import job {job_id} has begun: {counted(job.total_files, 'file')} in chunks. The sensor dicom_chunks"
                f" launches a run for each of them. From a terminal: fm-pipeline dicom status {job_id}"
            )
            return
        with run_progress(settings, run_id, log=context.log.info) as progress:
            try:
                job = carry_out(
                    settings,
                    config.job_id,
                    actor=actor,
                    run_id=run_id,
                    on_progress=progress.update,
                    options=ImportOptions(threads=config.threads),
                    chunk=config.chunk,
                )
            except BaseException:
                if terminated(context):
                    with suppress(RequestError):  # it has ended
                        request_cancel(settings.nexus_database_url.get_secret_value(), config.job_id)
                raise
            if terminated(context):  # the import was cancelled with it, and ended before the signal came
                raise dg.DagsterExecutionInterruptedError("The run was cancelled.")
        context.log.info(
            f"Import job {job.id} is {job.status}: {job.files_processed:,} of {counted(job.total_files, 'file')}."
        )


@dg.job(
    executor_def=dg.in_process_executor,
    description="Imports DICOM files of the configured directory, or of a job in chunks that was prepared, into Orthanc"
    " on several hosts: this run starts it, and the sensor dicom_chunks launches a run for each chunk.",
    tags={MAX_RUNTIME_TAG: str(12 * 3600)},  # a chunk takes minutes, and the listing of a slow share hours
)
def dicom_import_chunks() -> None:
    """One op."""
    import_dicom_chunk()
