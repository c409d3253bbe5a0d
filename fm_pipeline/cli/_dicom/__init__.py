"""The commands of `fm-pipeline dicom`, one module each."""
