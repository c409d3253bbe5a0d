"""Faults that a test sets, and the responses that they produce."""
