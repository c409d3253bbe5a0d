"""Whole import jobs, against a real Orthanc."""
