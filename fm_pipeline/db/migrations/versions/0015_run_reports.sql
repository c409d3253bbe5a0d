-- What a run did, for the console's pages: restores, verified backups, exports, image links and imports.
-- Counts, ids and sentences of ours; no patient data. Rows are added, never changed.
CREATE TABLE fm_pipeline.run_reports (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id        text NOT NULL,
    action        text NOT NULL CHECK (action IN ('restore', 'verify', 'export', 'image_link', 'image_import')),
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    dry_run       boolean NOT NULL DEFAULT false,
    subject       text,                          -- of a restore or a verification: the backup's id
    report        jsonb NOT NULL
);
CREATE INDEX run_reports_run ON fm_pipeline.run_reports (run_id);
CREATE INDEX run_reports_action ON fm_pipeline.run_reports (action, at DESC);
