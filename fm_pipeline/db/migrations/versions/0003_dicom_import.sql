-- Import jobs, the history of every file, and what Orthanc holds of it.

CREATE TABLE fm_pipeline.import_jobs (
    id                     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_type               text NOT NULL CHECK (job_type IN ('initial', 'incremental', 'manual')),
    source_path            text NOT NULL,          -- as fm_pipeline.dicom.paths.printable writes it
    status                 text NOT NULL DEFAULT 'pending'
                           CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    requested_by           text NOT NULL,
    run_id                 text,                   -- Dagster's, of the last run that worked on it
    total_files            bigint NOT NULL DEFAULT 0,     -- grows until scan_complete
    total_size_bytes       bigint NOT NULL DEFAULT 0,
    scan_complete          boolean NOT NULL DEFAULT false,  -- the whole directory could be listed
    files_unchanged        bigint NOT NULL DEFAULT 0,     -- of an incremental job: not opened, in no other count
    files_imported         bigint NOT NULL DEFAULT 0,
    files_already_there    bigint NOT NULL DEFAULT 0,
    files_duplicate        bigint NOT NULL DEFAULT 0,
    files_conflict         bigint NOT NULL DEFAULT 0,
    files_skipped          bigint NOT NULL DEFAULT 0,
    files_bad              bigint NOT NULL DEFAULT 0,
    files_failed           bigint NOT NULL DEFAULT 0,
    files_suspect          bigint NOT NULL DEFAULT 0,
    files_processed        bigint GENERATED ALWAYS AS (
                               files_imported + files_already_there + files_duplicate + files_conflict
                               + files_skipped + files_bad + files_failed + files_suspect) STORED,
    size_processed_bytes   bigint NOT NULL DEFAULT 0,
    directories_unreadable bigint NOT NULL DEFAULT 0,
    progress_percentage    numeric(5, 2) NOT NULL DEFAULT 0 CHECK (progress_percentage BETWEEN 0 AND 100),
    files_per_second       double precision NOT NULL DEFAULT 0,
    bytes_per_second       double precision NOT NULL DEFAULT 0,
    instances_expected     bigint,                 -- the comparison with Orthanc after the import
    instances_missing      bigint,
    instances_differing    bigint,                 -- of another size, or of another MD5 where that was asked for
    compared_at            timestamptz,
    error_reason           text,
    error_message          text,                   -- a sentence of ours; no patient data, no path
    cancel_requested_at    timestamptz,
    created_at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at             timestamptz,
    resumed_at             timestamptz,            -- the start of the last run
    updated_at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed_at           timestamptz
);
CREATE INDEX import_jobs_status ON fm_pipeline.import_jobs (status, id);

-- Of a job that is not for a whole directory but for some files of it, as the sensor makes them.
CREATE TABLE fm_pipeline.import_job_files (
    job_id                 bigint NOT NULL REFERENCES fm_pipeline.import_jobs ON DELETE CASCADE,
    file_path              text NOT NULL
);
CREATE INDEX import_job_files_job ON fm_pipeline.import_job_files (job_id);

-- One row for each file of a job. A file that is tried again within the job keeps its row.
CREATE TABLE fm_pipeline.import_history (
    id                     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id                 bigint NOT NULL REFERENCES fm_pipeline.import_jobs,
    file_path              text NOT NULL,
    file_name              text NOT NULL,
    path_hash              uuid NOT NULL,          -- BLAKE2b, 16 bytes: paths may be too long for an index
    file_size_bytes        bigint,
    modified_ns            bigint,                 -- mtime and ctime, nanoseconds since 1970
    changed_ns             bigint,
    file_hash              text,                   -- MD5 of the bytes that were read, and sent
    status                 text NOT NULL CHECK (status IN ('imported', 'already_there', 'duplicate', 'conflict',
                                                           'skipped', 'bad', 'failed', 'suspect')),
    reason                 text,                   -- an id of fm_pipeline.dicom.reasons
    error_message          text,                   -- the sentence to it; no patient data, no path
    flags                  text[] NOT NULL DEFAULT '{}',
    orthanc_instance_id    text,
    orthanc_patient_id     text,
    orthanc_study_id       text,
    orthanc_series_id      text,
    patient_id             text,
    study_uid              text,
    series_uid             text,
    instance_uid           text,
    sop_class_uid          text,
    transfer_syntax_uid    text,
    modality               text,
    study_month            text,                   -- YYYY-MM
    other_hash             text,                   -- of a conflict: what Orthanc holds, which stays
    sends                  smallint NOT NULL DEFAULT 0,   -- how often it was sent to Orthanc in this job
    missing_since          timestamptz,            -- Orthanc had it and has it no more
    imported_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (job_id, path_hash)
);
CREATE INDEX import_history_job ON fm_pipeline.import_history (job_id, id);
CREATE INDEX import_history_job_status ON fm_pipeline.import_history (job_id, status, id);
CREATE INDEX import_history_status ON fm_pipeline.import_history (status, id);
CREATE INDEX import_history_path ON fm_pipeline.import_history (path_hash, id);
CREATE INDEX import_history_hash ON fm_pipeline.import_history (file_hash)
    WHERE status IN ('imported', 'already_there', 'suspect');
CREATE INDEX import_history_instance ON fm_pipeline.import_history (orthanc_instance_id)
    WHERE status IN ('imported', 'already_there', 'suspect');
CREATE INDEX import_history_instance_uid ON fm_pipeline.import_history (instance_uid)
    WHERE status IN ('imported', 'already_there');

-- Directories that a job could not read: what lies in them is not known.
CREATE TABLE fm_pipeline.import_unreadable_directories (
    job_id                 bigint NOT NULL REFERENCES fm_pipeline.import_jobs,
    path_hash              uuid NOT NULL,
    directory              text NOT NULL,
    reason                 text NOT NULL,
    noticed_at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job_id, path_hash)
);

-- Who has been seen under a Patient ID: hashes of name and birth date (fm_pipeline.dicom.model.identity), no names.
CREATE TABLE fm_pipeline.import_patients (
    patient_id             text NOT NULL,
    identity               text NOT NULL,
    first_seen_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (patient_id, identity)
);
