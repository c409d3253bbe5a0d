"""Staging: from raw FileMaker records to typed, checked, resolved rows, as docs/mapping.md says."""
