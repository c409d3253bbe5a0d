"""DICOM files for the demo and for tests: generated series, a hospital's tree, special cases and damaged files."""
