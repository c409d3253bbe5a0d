"""Orthanc's answers, and sending through its faults."""
