"""Tests that a reimport killed at any moment leaves Nexus old or new, never between, and the next run possible."""
