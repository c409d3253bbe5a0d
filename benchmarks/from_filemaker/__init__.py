"""Readings of FileMaker: export files, and doors of a server."""
