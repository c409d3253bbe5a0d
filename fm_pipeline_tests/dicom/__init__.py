"""DICOM files of hospital directories."""
