-- The modification id that a record had when its picture was read: one that it has later may be of another picture.
ALTER TABLE fm_pipeline.waterfall_images ADD COLUMN mod_id bigint;  -- null: read before this column was there
