"""Tests of `fm_pipeline.sandbox.nexus`."""
