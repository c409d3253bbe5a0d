"""Tests of `fm_pipeline.sandbox.programs`."""
