"""Tests of `fm_pipeline.sensors`."""
