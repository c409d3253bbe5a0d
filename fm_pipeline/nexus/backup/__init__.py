"""Backups of every row that a reimport can touch, proved by restoring them, and the restore itself.

`backup.py` makes one, `verify.py` loads it into copies of the tables, `restore.py` brings it back.
"""
