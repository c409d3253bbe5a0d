"""Orthanc's REST API: connections, what its answers mean, and sending a file through whatever happens to the server.

What does not belong here: which files are sent. Differences between versions: docs/orthanc.md.
"""
