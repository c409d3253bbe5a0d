"""`fm-pipeline dicom cancel`: cancel a job."""

from __future__ import annotations

import click

from fm_pipeline.cli._dicom._context import as_json_option, command_context


@click.command(name="cancel")
@click.argument("job_id", type=int)
@as_json_option
def command(job_id: int, as_json: bool) -> None:
    """Cancel a pending or running import job.

    After two seconds at most no more uploads start. Uploads in progress are still recorded. The files of a job of the
    sensor wait until a person resumes it; the sensor does not take them.
    """
    from fm_pipeline.dicom.api.requests import cancel_import, monitoring_continues

    with command_context(as_json) as context:
        job = cancel_import(context.settings, job_id, actor=context.actor)
        continues = monitoring_continues(context.settings, job)
        if as_json:
            answer = {"job_id": job.id, "status": job.status, "monitoring_continues": continues}
            context.print_json(answer, "Import job cancelled successfully")
            return
        done = job.status == "cancelled"
        context.print(f"Job {job.id} is cancelled." if done else f"Job {job.id} will end within seconds.")
        context.print(f"To resume it later: fm-pipeline dicom import --job-id {job.id}")
        if continues:
            context.print("The sensor does not take its files until then, and continues with other new ones.", "yellow")
            context.print("To stop that too: fm-pipeline dicom configure --no-monitoring-enabled", "yellow")
