"""Inspect a file as a picture: type by its bytes, completeness, metadata, thumbnail."""
