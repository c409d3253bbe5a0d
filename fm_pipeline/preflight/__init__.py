"""Phase 0 of the import sequence: checks before anything is read or written.

Each module checks one system and yields findings (`finding.py`). A new check is a function there, a rule in
`fm_pipeline/entities/rules.yaml` and a test.
"""
