"""Tests of `fm_pipeline.sandbox.demo`."""
