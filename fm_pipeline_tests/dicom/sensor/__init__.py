"""The sensor's decision."""
