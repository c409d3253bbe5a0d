"""Export files of FileMaker Pro as a source: whole tables from tab, csv, mer, xml and xlsx, and a folder of them.

`table.py` reads one file, `door.py` a folder. A new format is a module that yields batches of rows, and a branch in
`table.py`. Character sets, kinds of files and workbooks are read here for the export of images too.
"""
