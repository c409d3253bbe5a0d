"""The console: one login in front of the Data Management page, the calls under /api/sync/ and Dagster.

- `accounts/`: who may log in, as what; sessions and tokens
- `gateway/`: Dagster's web server behind that login; the only part that imports Dagster
- `pages/`: the HTML pages, which call functions of the pipeline and contain no rules
- `site.py`: all of it as one ASGI application

What does not belong here: rules, SQL on Nexus' tables (but `auth_user`), what a run does.
"""
