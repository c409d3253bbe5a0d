"""Proof that no value of a record is in any file that a run leaves, whatever becomes of the run."""
