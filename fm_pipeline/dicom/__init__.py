"""DICOM files of hospital directories: which files there are, which are images, and how they come to Orthanc."""
