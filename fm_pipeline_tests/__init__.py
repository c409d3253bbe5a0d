"""The tests; the folders mirror those of `fm_pipeline`."""
