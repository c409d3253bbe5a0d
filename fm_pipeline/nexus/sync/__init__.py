"""What a sync adds to the transaction of a reimport: which values and rows of Nexus stay.

`baseline.py` keeps what FileMaker and Nexus had after the last commit. `merge.py` compares three states (FileMaker now,
Nexus now, the baseline) and puts a view in place of each staged table. `before_images.py` keeps the rows that a sync
changes, so that it can be undone.
"""
