-- Address and name of FileMaker's file. If the next list is of another file, its record ids and modification ids may be of
-- other images. NULL: listed before this column was there.
ALTER TABLE fm_pipeline.waterfall_lists ADD COLUMN source text;
