"""Images out of FileMaker's containers, the best of several sizes first, into S3 and Nexus.

`run.py` does one batch after the other; `ledger.py` keeps how far each record has come; `reconcile.py` repairs.
"""
