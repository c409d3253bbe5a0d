"""The demonstration: a synthetic clinic, reimported by a Dagster run, compared with its oracle."""
