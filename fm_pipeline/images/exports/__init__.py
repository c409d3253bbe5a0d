"""FileMaker's export of its image records: tab, csv, mer, xlsx or FMPXMLRESULT, read into one table of metadata.

`reader.py` tells the formats apart. A further format is a module here and a branch there.
"""
