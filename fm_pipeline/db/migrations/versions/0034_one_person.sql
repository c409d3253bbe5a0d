-- When somebody has confirmed that all names and birth dates met until then under the Patient ID are of one person.
ALTER TABLE fm_pipeline.import_patients ADD COLUMN one_person_since timestamptz;
