-- From where somebody asked: the address of a visitor of the console; empty for commands and for Dagster's own runs.
ALTER TABLE fm_pipeline.audit ADD COLUMN address text NOT NULL DEFAULT '';
