"""Alembic migrations of the schema `fm_pipeline`, the only one that this project makes tables in."""
