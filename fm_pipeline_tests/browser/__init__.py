"""Dagster's pages in a real browser: what their users must see there, and the pictures in `docs/`."""
