-- Mistaken imports that were taken back: what a job had brought was deleted in Orthanc. Rows of history stay.
CREATE TABLE fm_pipeline.import_removals (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id             bigint NOT NULL REFERENCES fm_pipeline.import_jobs,
    run_id             text,                       -- Dagster's
    requested_by       text NOT NULL,
    instances_planned  bigint NOT NULL,
    instances_deleted  bigint NOT NULL DEFAULT 0,
    instances_absent   bigint NOT NULL DEFAULT 0,  -- Orthanc did not have them any more
    instances_kept     bigint NOT NULL DEFAULT 0,  -- Orthanc has another file of the instance than the job had sent
    started_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed_at       timestamptz                 -- NULL: at work, or interrupted
);
CREATE INDEX import_removals_job ON fm_pipeline.import_removals (job_id, id);

ALTER TABLE fm_pipeline.import_history
    ADD COLUMN removed_at timestamptz,             -- the instance was deleted in Orthanc by a removal
    ADD COLUMN removal_id bigint REFERENCES fm_pipeline.import_removals;
CREATE INDEX import_history_removal ON fm_pipeline.import_history (removal_id, id) WHERE removal_id IS NOT NULL;
-- Of files that were not stored since Orthanc had the instance: few beside the other index.
CREATE INDEX import_history_instance_again ON fm_pipeline.import_history (orthanc_instance_id)
    WHERE status IN ('duplicate', 'conflict');
