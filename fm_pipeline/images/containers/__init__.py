"""Import images from FileMaker's container fields, the best of several sizes first, into S3 and Nexus.

`import_images.py` runs the import; `best_container.py` picks the container of a record; `import_ledger.py` stores the
state of each record; `reconcile.py` finds and repairs disagreements between FileMaker, Nexus and S3.
"""
