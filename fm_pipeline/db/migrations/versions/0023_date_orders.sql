-- The order of the dates in text fields, by canonical field: dmy, mdy, or null if it is not known.
ALTER TABLE fm_pipeline.source_extractions ADD COLUMN date_orders jsonb NOT NULL DEFAULT '{}';
