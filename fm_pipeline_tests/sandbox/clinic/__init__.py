"""Tests of `fm_pipeline.sandbox.clinic`."""
