-- SHA-256 of a file of the bulk dump. Another S3 server gives the same bytes another ETag. NULL: an earlier release has
-- looked at it, or it is no picture.
ALTER TABLE fm_pipeline.image_files ADD COLUMN sha256 text;
