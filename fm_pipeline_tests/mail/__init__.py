"""Tests of `fm_pipeline.mail`."""
