"""PostgreSQL without Nexus: connections, migrations of our own schema, locks, COPY, digests, row versions, audit.

What does not belong here: any table of Nexus. That is `fm_pipeline.nexus`.
"""
