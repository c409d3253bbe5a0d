"""The DICOM files of the sandbox."""
