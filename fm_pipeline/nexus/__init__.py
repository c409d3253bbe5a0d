"""The target: Nexus' PostgreSQL database.

`catalogue` reads what tables there are, `reimport` is the one transaction that writes, `backup` saves and restores.
`policy.py` says what happens to each table, `crosswalk.py` keeps which row a FileMaker record is, `grants.py` prints
the privileges. What does not belong here: FileMaker, files, Dagster.
"""
