"""`fm-pipeline serve`: the console, Dagster's daemon and its code server as one service.

What does not belong here: pages, and what a run does.
"""
