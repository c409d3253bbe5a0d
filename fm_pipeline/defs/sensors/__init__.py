"""The sensors. Each reads what is, asks domain code what to do next, and asks Dagster for it.

https://docs.dagster.io/guides/automate/sensors
"""
