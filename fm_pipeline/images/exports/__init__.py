"""FileMaker's export of its image records: tab, csv, mer, xlsx or FMPXMLRESULT, read into one table of metadata.

`reader.py` detects the format, `records.py` checks the records. A new format is a module here and a branch in
`reader.py`.
"""
