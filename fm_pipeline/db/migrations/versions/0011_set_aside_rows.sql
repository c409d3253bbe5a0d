-- Rows of Nexus that were made after a backup and could not stay when it was restored, as they were.
-- To bring one back: INSERT INTO t SELECT (json_populate_record(NULL::t, content)).* FROM ... WHERE row_key = ...
CREATE TABLE fm_pipeline.set_aside_rows (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL DEFAULT now(),  -- the same for all rows of one restore
    table_schema  text NOT NULL,
    table_name    text NOT NULL,
    row_key       text NOT NULL,
    content       json NOT NULL
);
