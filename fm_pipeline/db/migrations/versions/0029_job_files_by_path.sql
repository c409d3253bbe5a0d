-- The jobs whose list has a file. The sensor asks it for the files that it meets; cancelled jobs keep their lists. Paths
-- may be too long for an index of another kind.
CREATE INDEX import_job_files_path ON fm_pipeline.import_job_files USING hash (file_path);
