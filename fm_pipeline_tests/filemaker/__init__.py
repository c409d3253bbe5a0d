"""Tests of the source: the client, complete reading, extraction."""
