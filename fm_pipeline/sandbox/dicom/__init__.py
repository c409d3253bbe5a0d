"""A hospital's DICOM files to try it on: generated series, a tree for the demo, traps and broken files."""
