-- The directories that the hospital's sensor watches, as they were seen last.
-- It is a memory, not a record: without these rows everything is listed once more, and the history says what is known.

CREATE TABLE fm_pipeline.watched_roots (
    id                     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    path_hash              uuid NOT NULL UNIQUE,   -- as in import_history
    directory              text NOT NULL,          -- as fm_pipeline.dicom.paths.printable writes it
    mount_point            text NOT NULL,          -- where it was found: another one means that it is not mounted
    round_position         uuid,                   -- the directory after which the next tick goes on
    round_completed_at     timestamptz,            -- when every directory had been asked
    alarm                  text,                   -- an id of fm_pipeline.dicom.reasons; paused while it is set
    alarm_since            timestamptz,
    ticked_at              timestamptz
);

CREATE TABLE fm_pipeline.watched_directories (
    root_id                bigint NOT NULL REFERENCES fm_pipeline.watched_roots ON DELETE CASCADE,
    path_hash              uuid NOT NULL,
    directory              text NOT NULL,
    is_mount               boolean NOT NULL DEFAULT false,
    settled_ns             bigint,                 -- mtime with which everything in it was dealt with; null: to be listed
    seen_ns                bigint,                 -- mtime in the future, and since when it is the same
    seen_since             timestamptz,
    fingerprint            uuid,                   -- of names, sizes and times, if history knows every file of it
    listed_at              timestamptz,
    PRIMARY KEY (root_id, path_hash)
);
CREATE INDEX watched_directories_to_list ON fm_pipeline.watched_directories (root_id, listed_at)
    WHERE settled_ns IS NULL;

-- Files whose times lie in the future: since when they are as they are.
CREATE TABLE fm_pipeline.watched_files (
    root_id                bigint NOT NULL REFERENCES fm_pipeline.watched_roots ON DELETE CASCADE,
    path_hash              uuid NOT NULL,
    facts                  text NOT NULL,
    seen_since             timestamptz NOT NULL,
    PRIMARY KEY (root_id, path_hash)
);

-- What Orthanc had and has no more: few rows, asked for at the start of each full scan.
CREATE INDEX import_history_missing ON fm_pipeline.import_history (id) WHERE missing_since IS NOT NULL;
