"""The requests that people and programs make of the import: start, cancel, configure, list; each change is audited.

What does not belong here: the work itself (`importer`), and how an answer is shown (`fm_pipeline.cli`).
"""
