"""Tests of the door in front of Dagster's web server."""
