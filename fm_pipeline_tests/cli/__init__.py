"""Tests of `fm_pipeline.cli`."""
