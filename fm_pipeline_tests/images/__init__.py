"""Tests of `fm_pipeline.images`."""
