"""The steps of the import sequence as functions, for commands and assets: read and stage, plan, reimport.

Progress and reports of a run belong here too; rules and SQL do not.
"""
