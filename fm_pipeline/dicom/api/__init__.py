"""The operations behind the commands: preview, import, cancel, list. Each change is audited.

The work itself belongs to `importer`, the output to `fm_pipeline.cli`.
"""
