"""Tests of `fm_pipeline.notifications`."""
