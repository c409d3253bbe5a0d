-- What a mapping profile adds: tables of a clinic's own, and further columns. As they were staged last, so that a
-- reimport loads what was staged, and a backup has what a reimport loads.
CREATE TABLE fm_pipeline.staged_entities (
    entity        text PRIMARY KEY,
    definition    jsonb,                         -- null: left out as a whole
    left_out      text[] NOT NULL                -- sentences: what this Nexus or this FileMaker file does not have
);
-- FileMaker ids, as they are compared, of the records that a record names besides its patient; by canonical field.
ALTER TABLE fm_pipeline.source_records ADD COLUMN parent_keys jsonb;
