-- The name is that of another local file of the same size; differs_from is a hash of its path, size and time.
ALTER TABLE fm_pipeline.ftp_files DROP CONSTRAINT ftp_files_state_check,
    ADD CONSTRAINT ftp_files_state_check CHECK (state IN ('pulling', 'pulled', 'differs')),
    ADD COLUMN differs_from uuid;
