"""Ways to bring DICOM files into Orthanc, and how long each takes."""
