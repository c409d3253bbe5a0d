-- The parts of an import job that several processes share, also on several hosts. A job without rows here is carried out
-- by one process. The process that claims a chunk raises `fence`, and every later write of a process with an older number
-- is refused.
CREATE TABLE fm_pipeline.import_chunks (
    job_id        bigint NOT NULL REFERENCES fm_pipeline.import_jobs ON DELETE CASCADE,
    number        integer NOT NULL,              -- in the order of the scan
    closing       boolean NOT NULL DEFAULT false, -- the last one: it has no files, and compares Orthanc with the history
    files         integer NOT NULL,
    size_bytes    bigint NOT NULL,
    paths         text[],                        -- as paths.printable writes them; NULL: the job is completed
    fence         integer NOT NULL DEFAULT 0,    -- the number of claims so far
    holder        text,                          -- host and process; NULL: free
    claimed_at    timestamptz,
    heartbeat_at  timestamptz,                   -- a holder that is silent for too long loses the chunk
    done_at       timestamptz,
    PRIMARY KEY (job_id, number)
);
CREATE INDEX import_chunks_open ON fm_pipeline.import_chunks (job_id, number) WHERE done_at IS NULL;
