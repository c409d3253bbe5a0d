-- The nightly sync: what FileMaker and Nexus had after the last commit, and what each sync did or would do.

-- The baseline. One row for each row that was staged and in Nexus; values as texts, by column of Nexus.
CREATE TABLE fm_pipeline.synced_rows (
    entity        text NOT NULL,
    nexus_id      uuid NOT NULL,
    filemaker_key text NOT NULL,
    filemaker     jsonb NOT NULL,                -- what FileMaker said
    nexus         jsonb NOT NULL,                -- what Nexus had
    kept          text[] NOT NULL DEFAULT '{}',  -- columns in which they differed: an edit in Nexus was kept
    state         bigint NOT NULL,               -- digest of both, to find what has changed since
    gone          boolean NOT NULL DEFAULT false,  -- FileMaker does not have it any more; the row was kept by a sync
    PRIMARY KEY (entity, nexus_id)
);

CREATE TABLE fm_pipeline.syncs (
    id            uuid PRIMARY KEY,
    number        bigint GENERATED ALWAYS AS IDENTITY UNIQUE,  -- their order; a clock may be wrong
    run_id        text,                          -- Dagster's
    requested_by  text NOT NULL,
    created_at    timestamptz NOT NULL,
    status        text NOT NULL CHECK (status IN ('nothing_new', 'waits', 'committed')),
    inputs        jsonb NOT NULL,                -- digests, as of a plan
    report        jsonb NOT NULL,                -- counts and ids, no patient data
    deletions     jsonb NOT NULL DEFAULT '{}',   -- ids of rows that it would delete, by table
    plan_id       uuid,                          -- the sync that waited and that this one carried out
    committed_at  timestamptz,
    undone_at     timestamptz                    -- its rows were written back
);

-- Values and rows that a sync did not simply take from FileMaker.
CREATE TABLE fm_pipeline.sync_decisions (
    sync_id       uuid NOT NULL REFERENCES fm_pipeline.syncs ON DELETE CASCADE,
    entity        text NOT NULL,
    nexus_id      text NOT NULL,
    column_name   text NOT NULL,                 -- '': the whole row
    decision      text NOT NULL,
    kept          boolean NOT NULL,              -- Nexus stays as it is
    filemaker_key text NOT NULL DEFAULT ''
);
CREATE INDEX sync_decisions_sync ON fm_pipeline.sync_decisions (sync_id, entity);

-- Rows that a sync has changed, so that it can be undone. `json` keeps every number as it is.
CREATE TABLE fm_pipeline.sync_changes (
    sync_id       uuid NOT NULL REFERENCES fm_pipeline.syncs ON DELETE CASCADE,
    schema_name   text NOT NULL,
    table_name    text NOT NULL,
    row_id        text NOT NULL,
    before        json,                          -- NULL: the sync inserted the row
    after         json,                          -- NULL: the sync deleted the row
    PRIMARY KEY (sync_id, schema_name, table_name, row_id)
);

-- When the records of an entity were last compared with FileMaker, and when they were last read whole.
CREATE TABLE fm_pipeline.source_readings (
    entity        text PRIMARY KEY,
    extraction_id uuid NOT NULL,                 -- that they belong to; of another one it means nothing
    checked_at    timestamptz NOT NULL,          -- start of the reading
    whole_at      timestamptz NOT NULL
);

-- What each record was last built from, so that a sync builds only what has changed.
CREATE TABLE fm_pipeline.built_entities (
    entity        text PRIMARY KEY,
    fingerprint   text NOT NULL,                 -- of everything but the records
    whole_at      timestamptz NOT NULL           -- when all of it was last built
);
CREATE TABLE fm_pipeline.built_records (
    entity        text NOT NULL,
    record_id     bigint NOT NULL,
    unit          text NOT NULL,                 -- records of one unit are built together
    hash          bigint NOT NULL,               -- of the record and of what it is held against
    PRIMARY KEY (entity, record_id)
);

-- FileMaker's time of a record's last change, as it came; the part sync of a profile names the field.
ALTER TABLE fm_pipeline.source_records ADD COLUMN modified text;

-- What the staged rows were last built from, beside FileMaker's records: profile, rules, names in Nexus, the crosswalk.
CREATE TABLE fm_pipeline.staged_inputs (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    fingerprint   text NOT NULL
);
