"""Dagster's web server behind the console's login. Only here does the console import Dagster.

A viewer's requests get Dagster's own read-only permissions, so that Dagster itself refuses mutations; nothing reads
the text of a query. The guard refuses what Dagster would answer to anybody.
"""
