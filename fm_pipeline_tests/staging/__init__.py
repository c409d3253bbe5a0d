"""Tests of fm_pipeline.staging."""
