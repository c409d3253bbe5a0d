-- The instances of one job in the order of their ids, and all rows of an instance whatever became of the file. It takes
-- the place of two partial indexes: a query that names more outcomes than one of them has could use neither.
DROP INDEX fm_pipeline.import_history_instance, fm_pipeline.import_history_instance_again;
CREATE INDEX import_history_instance ON fm_pipeline.import_history (orthanc_instance_id, job_id)
    WHERE orthanc_instance_id IS NOT NULL;
-- Archives that have to be opened again. They are asked for with each part of a comparison with Orthanc.
CREATE INDEX import_history_missing_archives ON fm_pipeline.import_history (path_hash)
    WHERE missing_since IS NOT NULL AND orthanc_instance_id IS NULL;

-- Jobs since a day, and the last one of a person for a directory; the sensor may have made a million others.
CREATE INDEX import_jobs_created ON fm_pipeline.import_jobs (created_at);
CREATE INDEX import_jobs_of_people ON fm_pipeline.import_jobs (source_path, id)
    WHERE requested_by <> 'hospital_dicom_sensor';

-- The pages of runs, and the newest row of an action, which the sensor asks for at each of its ticks.
CREATE INDEX audit_run ON fm_pipeline.audit (run_id, id) WHERE run_id IS NOT NULL;
CREATE INDEX audit_action ON fm_pipeline.audit (action, id);
CREATE INDEX audit_at ON fm_pipeline.audit (at);

-- The records that were not loaded: few of all.
CREATE INDEX staged_outcomes_kept_out ON fm_pipeline.staged_outcomes (entity, rule) WHERE outcome <> 'ready';
