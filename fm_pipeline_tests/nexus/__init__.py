"""The target, against a real PostgreSQL."""
