"""Tests of the FileMaker stand-in, and the helper that runs it for other tests."""
