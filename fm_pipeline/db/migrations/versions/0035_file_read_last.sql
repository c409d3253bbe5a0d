-- Address and name of FileMaker's file that a layout was read from last. Export files name none, and do not change it. If
-- the next file has another name, it may be a backup. NULL: only exports were read.
ALTER TABLE fm_pipeline.source_readings ADD COLUMN file_source text;
UPDATE fm_pipeline.source_readings r SET file_source = e.source
FROM fm_pipeline.source_extractions e WHERE e.entity = r.entity AND strpos(e.source, '://') > 0;
