"""Noticing new files."""
