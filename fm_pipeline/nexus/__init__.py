"""The target: Nexus' PostgreSQL database.

`catalogue/` reads its tables, `reimport/` is the one transaction that writes, `sync/` merges what users edited into it,
`backup/` saves and restores. `table_policy.py` decides what happens to each table, `crosswalk.py` maps FileMaker ids to
Nexus ids, `grants.py` prints the privileges that the roles need. FileMaker, files and Dagster do not belong here.
"""
