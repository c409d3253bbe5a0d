"""The link: files of the bulk dump become images of patients. `link.py` is the whole of it.

`matching.py` decides which file is which image; `copies.py` copies and verifies in S3; only then are rows written.
"""
