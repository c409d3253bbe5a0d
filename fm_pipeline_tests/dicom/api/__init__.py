"""Tests of the operations behind the commands and calls."""
