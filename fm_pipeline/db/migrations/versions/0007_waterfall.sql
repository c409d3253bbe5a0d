-- Image records of FileMaker's containers, and how far each of them has come.

-- Every complete list of records whose mark was empty.
CREATE TABLE fm_pipeline.waterfall_lists (
    id            uuid PRIMARY KEY,
    run_id        text,
    listed_at     timestamptz NOT NULL,
    layout        text NOT NULL,
    records       bigint NOT NULL                -- as many as FileMaker counted
);

-- One row a record that was ever on a list; never taken out.
--   listed    nothing is done yet
--   uploaded  the file is in S3, verified
--   linked    its row is in Nexus, in the same transaction as this state
--   marked    FileMaker has the mark
--   skipped, failed  by reason; a later run takes them up again
--   gone      marked by somebody else, or deleted
CREATE TABLE fm_pipeline.waterfall_images (
    record_id     bigint PRIMARY KEY,
    list_id       uuid NOT NULL REFERENCES fm_pipeline.waterfall_lists (id),
    filemaker_key text NOT NULL,                 -- lower case; '' if the record has none
    state         text NOT NULL DEFAULT 'listed'
        CHECK (state IN ('listed', 'uploaded', 'linked', 'marked', 'skipped', 'failed', 'gone')),
    reason        text,
    container     text,                          -- the field that the file came from
    passed_over   jsonb NOT NULL DEFAULT '{}',   -- better containers -> why they cannot be read
    image         jsonb,                         -- what goes into Nexus, once the file is in S3; patient data
    etag          text,
    image_id      uuid UNIQUE,                   -- in Nexus; two records never share one
    attempts      integer NOT NULL DEFAULT 0,
    tried_at      timestamptz,
    uploaded_at   timestamptz,
    linked_at     timestamptz,
    marked_at     timestamptz,
    CHECK (state NOT IN ('uploaded') OR image IS NOT NULL),
    CHECK (state NOT IN ('linked', 'marked') OR image_id IS NOT NULL)
);
CREATE INDEX waterfall_images_key ON fm_pipeline.waterfall_images (filemaker_key);
CREATE INDEX waterfall_images_turn ON fm_pipeline.waterfall_images (tried_at NULLS FIRST, record_id)
    WHERE state NOT IN ('marked', 'gone');
