"""The job that takes a mistaken import of DICOM files back. It is started by hand only, with typed words."""

import dagster as dg
from pydantic import Field

from fm_pipeline.defs.assets.dicom import DICOM_POOL
from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.requester import REMARK, requester
from fm_pipeline.defs.resources import NexusTarget
from fm_pipeline.dicom.log import import_log
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import run_progress


class DicomRemovalConfig(dg.Config):
    """Which import job, and the words."""

    job_id: int = Field(description="Id of the import job whose instances are deleted in Orthanc.", ge=1)
    confirm: str = Field(
        default="",
        description='"remove <number of instances> of job <job>". Without it nothing is deleted, and the run shows what'
        " it would delete and the words to type.",
    )
    requested_by: str = Field(default="", description=REMARK)


@dg.op(pool=DICOM_POOL)
def remove_imported_instances(context: dg.OpExecutionContext, config: DicomRemovalConfig, nexus: NexusTarget) -> None:
    """Delete in Orthanc what one import job brought, or show what that would be."""
    from fm_pipeline.dicom.api.remove_import import plan_removal, remove_import  # noqa: PLC0415  # slow to import

    with explained():
        settings = nexus.prepare().settings
        if not config.confirm:
            plan = plan_removal(settings, config.job_id)
            context.log.info(
                f"{counted(plan.instances.removable, 'instance')} would be deleted in Orthanc. Nothing was deleted. If"
                " another installation imports into this Orthanc too, it loses what it has found there of them: look"
                f" into its history first. To carry it out, launch it again with confirm={plan.confirmation!r}"
            )
            return
        run_id = context.run.run_id
        with import_log(settings), run_progress(settings, run_id, log=context.log.info) as progress:
            removal = remove_import(
                settings,
                config.job_id,
                confirm=config.confirm,
                actor=requester(context, settings, config.requested_by),
                run_id=run_id,
                on_progress=progress.update,
            )
    context.log.info(
        f"Removal {removal.id}: {counted(removal.instances_deleted, 'instance')} deleted in Orthanc,"
        f" {counted(removal.instances_absent, 'was', 'were')} not there any more, {removal.instances_kept:,} kept,"
        " because Orthanc has another file."
    )


@dg.job(
    executor_def=dg.in_process_executor,
    description="Deletes in Orthanc what one import job brought, and nothing else. Launch it without `confirm`"
    " first: it shows what it would delete, and the words.",
)
def remove_dicom_import() -> None:
    """One op."""
    remove_imported_instances()
