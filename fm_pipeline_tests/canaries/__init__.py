"""Tests that no file that a run leaves contains a value of a record, whether the run succeeds or fails."""
