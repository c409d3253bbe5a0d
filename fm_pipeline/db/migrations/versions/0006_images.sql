-- Image metadata of the CSV link, the listing of the bulk dump, the ledger of copies, and the images that were linked.

-- Every export of images that was read; the rows of image_metadata and image_rejects are those of the newest.
CREATE TABLE fm_pipeline.image_exports (
    id            uuid PRIMARY KEY,
    run_id        text,
    read_at       timestamptz NOT NULL,
    sha256        text NOT NULL,                 -- of the file
    format        text NOT NULL,                 -- tab | csv | mer | xlsx
    encoding      text NOT NULL,
    records       bigint NOT NULL,               -- = accepted + repeated + rejected
    accepted      bigint NOT NULL,
    repeated      bigint NOT NULL,               -- the same record again, equal in everything
    rejected      bigint NOT NULL,
    additional    bigint NOT NULL                -- lines that only continue a record with related rows
);

-- What FileMaker says of an image. Holds patient data (type, note).
CREATE TABLE fm_pipeline.image_metadata (
    recid         bigint PRIMARY KEY,
    line          bigint NOT NULL,               -- record number in the export, from 1
    filemaker_id  uuid,
    patient_ref   text NOT NULL,                 -- as exported
    date_text     text NOT NULL,                 -- as exported
    taken         date,
    category      text NOT NULL,
    note          text NOT NULL,
    outcome       text CHECK (outcome IN ('linked', 'already_linked', 'skipped', 'error', 'left')),
    reason        text,                          -- id of the reason; null for linked ones
    CHECK (outcome IS NOT NULL OR reason IS NULL)
);

-- Records of the newest export that cannot be used, by number and reason; never their values.
CREATE TABLE fm_pipeline.image_rejects (
    line          bigint PRIMARY KEY,
    reason        text NOT NULL
);

-- The bulk dump as it was listed last.
CREATE TABLE fm_pipeline.bulk_dump_inventories (
    id            uuid PRIMARY KEY,
    run_id        text,
    listed_at     timestamptz NOT NULL,
    bucket        text NOT NULL,
    prefix        text NOT NULL,
    objects       bigint NOT NULL,
    bytes         bigint NOT NULL,
    digest        text NOT NULL                  -- of keys, sizes and ETags
);
CREATE TABLE fm_pipeline.bulk_dump_objects (
    key           text PRIMARY KEY,
    size          bigint NOT NULL,
    etag          text NOT NULL,
    modified      timestamptz NOT NULL,
    recid         bigint                         -- null: its name is no record's
);
CREATE INDEX bulk_dump_objects_recid ON fm_pipeline.bulk_dump_objects (recid);

-- The ledger: one row an image that has or gets a copy. Rows are never taken out.
CREATE TABLE fm_pipeline.image_copies (
    recid         bigint PRIMARY KEY,
    patient_key   text NOT NULL,                 -- FileMaker's id of the patient, or Nexus' where there is none
    batch_id      uuid NOT NULL,
    source_key    text NOT NULL,
    source_size   bigint NOT NULL,
    source_etag   text NOT NULL,
    target_key    text NOT NULL UNIQUE,
    target_etag   text,                          -- as S3 answered the copy, or as it was listed
    thumbnail_size integer,                      -- as it was listed beside the copy
    state         text NOT NULL CHECK (state IN ('planned', 'copied', 'verified', 'linked', 'failed')),
    reason        text,                          -- of a failure
    image_id      uuid,                          -- in Nexus, once it is linked
    planned_at    timestamptz NOT NULL,
    copied_at     timestamptz,
    verified_at   timestamptz,
    linked_at     timestamptz,
    CHECK (state <> 'linked' OR (image_id IS NOT NULL AND verified_at IS NOT NULL))
);
CREATE INDEX image_copies_image ON fm_pipeline.image_copies (image_id);

-- What was found in a file, by its bytes: a file is read once.
CREATE TABLE fm_pipeline.image_files (
    etag          text NOT NULL,
    size          bigint NOT NULL,
    reason        text,                          -- why it is no picture that can be shown; null: it is one
    mime_type     text,
    width         integer,
    height        integer,
    inspected_at  timestamptz NOT NULL,
    PRIMARY KEY (etag, size)
);
