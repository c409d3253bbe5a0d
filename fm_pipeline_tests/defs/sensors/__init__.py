"""Tests of `fm_pipeline.defs.sensors`."""
