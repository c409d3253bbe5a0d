"""Tests of the mapping profiles."""
