-- Whose DICOM files an erasure keeps out of incremental imports. Orthanc's id of a patient is a hash of the Patient ID.
CREATE TABLE fm_pipeline.erased_dicom_patients (
    orthanc_patient_id text PRIMARY KEY,
    erased_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);
