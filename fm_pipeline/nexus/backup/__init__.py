"""Backups of every row that a reimport can touch, verified by restoring them into copies, and the restore.

`backup.py` makes a backup, `verify.py` restores it into copies of the tables, `restore.py` into the tables themselves.
"""
