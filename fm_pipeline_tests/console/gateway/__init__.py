"""Tests of the gateway in front of Dagster's web server."""
