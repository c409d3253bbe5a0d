-- What a share's own file system does with times, as far as it was seen.
ALTER TABLE fm_pipeline.watched_roots
    ADD COLUMN unmoved_since timestamptz,          -- a file came into a folder whose mtime stayed as it was
    ADD COLUMN clock_behind_seconds double precision NOT NULL DEFAULT 0;  -- of the share's clock, against ours
