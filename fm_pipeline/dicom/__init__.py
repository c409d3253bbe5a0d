"""The import of DICOM files from hospital directories into Orthanc.

`scan` lists files, `files` reads them, `orthanc` is the client, `importer` runs a job, `history` keeps the outcome of
each file, `watch` and `sensor` find new files, `ftp` downloads them, `api` serves the commands. The modules in this
folder are shared by all of them. docs/dicom.md describes the whole.
"""
