"""Tests of the export files as a source."""
