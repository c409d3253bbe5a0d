"""Tests of `fm_pipeline.preflight`."""
