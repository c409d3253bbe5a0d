-- Files in archives have rows of their own. Their path is the archive's, `!/` and the name in it; their times are its own.
ALTER TABLE fm_pipeline.import_history
    ADD COLUMN archive_hash uuid;                  -- of a file in an archive: path_hash of the archive
CREATE INDEX import_history_missing_members ON fm_pipeline.import_history (archive_hash)
    WHERE archive_hash IS NOT NULL AND missing_since IS NOT NULL;
-- Archives that were passed over until now are opened by the next look: every folder is listed once more for that.
UPDATE fm_pipeline.watched_directories SET settled_ns = NULL, fingerprint = NULL;
