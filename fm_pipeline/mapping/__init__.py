"""Profiles: which layout and which fields of a FileMaker file feed which canonical field."""
