"""Phase 0 of the import sequence: everything that can be known before anything is read or written.

Each module looks at one system and gives findings (`finding.py`). A new check is a function there, a rule in
`fm_pipeline/entities/rules.yaml` and a test.
"""
