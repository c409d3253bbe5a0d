"""The source: doors into a FileMaker file, each of which reads a whole table and proves that it is complete.

What does not belong here: PostgreSQL. What is read is kept by `fm_pipeline.staging.extract`.
"""
