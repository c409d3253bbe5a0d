"""The source: a client of the FileMaker Data API, and the reading of a layout that is proved complete.

What does not belong here: PostgreSQL. What is read is kept by `fm_pipeline.staging.extract`.
"""
