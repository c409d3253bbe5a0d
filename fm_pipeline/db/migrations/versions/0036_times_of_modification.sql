-- By it a sync finds the few records that were modified since a day, without reading all of them.
CREATE INDEX source_records_modified ON fm_pipeline.source_records (entity, modified COLLATE "C");
