-- When a sync noticed that FileMaker's file was restored from a backup. The next sync that would change Nexus waits.
ALTER TABLE fm_pipeline.source_readings ADD COLUMN went_back_at timestamptz;
