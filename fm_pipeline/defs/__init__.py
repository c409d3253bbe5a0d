"""The Dagster layer: assets, checks, jobs, schedules, sensors, resources and the run launcher.

Nothing below this package imports Dagster; what is private in Dagster is imported in `dagster_internals.py` only.
What does not belong here: rules, SQL, HTTP. A new definition also goes into `fm_pipeline/definitions.py`.
"""
