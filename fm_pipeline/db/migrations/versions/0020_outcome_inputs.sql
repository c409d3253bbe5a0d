-- What each record was last built from, with its outcome, so that a build passes over records that have not changed.
ALTER TABLE fm_pipeline.staged_outcomes
    ADD COLUMN unit   text,                      -- records of one unit are built together; null: the record alone
    ADD COLUMN inputs bigint;                    -- hash of the record and of what it is held against
DROP TABLE fm_pipeline.built_records;
