-- Records that were read from other fields of FileMaker are not the ones that a sync has to know.
ALTER TABLE fm_pipeline.source_readings
    ADD COLUMN feeds text;  -- the fields, as `Resolution.signature` writes them; NULL: before there was this column
