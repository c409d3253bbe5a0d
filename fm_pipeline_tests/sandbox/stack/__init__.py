"""Tests of `fm_pipeline.sandbox.stack`."""
