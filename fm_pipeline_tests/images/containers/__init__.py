"""Tests of the import from containers."""
