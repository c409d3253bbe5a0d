"""Read single files: open them safely, detect DICOM, and read the identifiers. Archives are in `archives`.

Source: DICOM PS3.5 (encoding) and PS3.10 (files). What does not belong here: Orthanc, the database, other files.
"""
