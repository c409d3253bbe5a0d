"""The demo: a synthetic clinic, reimported by a Dagster run and compared with the expected result."""
