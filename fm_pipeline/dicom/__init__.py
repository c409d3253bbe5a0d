"""DICOM files of hospital directories: which files there are, which are images, and how they come to Orthanc.

`scan` lists files, `files` reads them, `orthanc` talks to the server, `importer` carries out a job, `history` keeps
what became of each file, `watch` and `sensor` notice new files, `ftp` fetches them, `api` answers requests. In this
folder lie only words that all of them use. How it works as a whole: docs/dicom.md.
"""
