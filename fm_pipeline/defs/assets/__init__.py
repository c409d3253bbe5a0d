"""The assets, one file a stage of the import sequence. Thin: each calls domain code and tells Dagster what was done.

What does not belong here: rules, SQL, HTTP. https://docs.dagster.io/guides/build/assets
"""
