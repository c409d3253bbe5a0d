-- Columns in which FileMaker and Nexus differed when the baseline first had them: nobody knows who changed them. A sync
-- keeps them, like `kept`; a reimport does not.
ALTER TABLE fm_pipeline.synced_rows ADD COLUMN unknown text[] NOT NULL DEFAULT '{}';
