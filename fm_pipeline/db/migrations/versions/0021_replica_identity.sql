-- Of tables without a primary key. In a publication of all tables (logical replication), PostgreSQL refuses every
-- update and delete of a table whose rows it cannot identify.
ALTER TABLE fm_pipeline.staged_findings REPLICA IDENTITY FULL;
ALTER TABLE fm_pipeline.import_job_files REPLICA IDENTITY FULL;
ALTER TABLE fm_pipeline.sync_decisions REPLICA IDENTITY FULL;
