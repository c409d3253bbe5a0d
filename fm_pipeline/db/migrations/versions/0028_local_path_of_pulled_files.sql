-- The hash of the local path to which a file was pulled; null: it was pulled before this was written. If the folder
-- for pulled files is another one now, files that are not in it are not lost.
ALTER TABLE fm_pipeline.ftp_files ADD COLUMN local_hash uuid;
