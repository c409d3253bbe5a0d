"""Servers, databases and helpers that tests share. It contains no tests."""
