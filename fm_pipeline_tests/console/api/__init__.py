"""Tests of the calls under /api/sync/."""
