"""`fm-pipeline dicom cancel`: cancel a job."""

from __future__ import annotations

import click

from fm_pipeline.cli._dicom._context import as_json_option, command_context
from fm_pipeline.dicom.api.requests import cancel_import, monitoring_continues


@click.command(name="cancel")
@click.argument("job_id", type=int)
@as_json_option
def command(job_id: int, as_json: bool) -> None:
    """Cancel a pending or running import job.

    Nothing new is sent within two seconds; what is on its way to Orthanc at that moment is still written down. The
    files of a job of the sensor wait until somebody goes on with it; the sensor takes none of them by itself.
    """
    with command_context(as_json) as context:
        job = cancel_import(context.settings, job_id, actor=context.actor)
        continues = monitoring_continues(context.settings, job)
        if as_json:
            answer = {"job_id": job.id, "status": job.status, "monitoring_continues": continues}
            context.print_json(answer, "Import job cancelled successfully")
            return
        done = job.status == "cancelled"
        context.print(f"Job {job.id} is cancelled." if done else f"Job {job.id} will end within some seconds.")
        context.print(f"To go on with it later: fm-pipeline dicom import --job-id {job.id}")
        if continues:
            context.print("The sensor leaves its files alone until then, and goes on with other new ones.", "yellow")
            context.print("To stop that too: fm-pipeline dicom configure --no-monitoring-enabled", "yellow")
