"""What PostgreSQL's catalogue says of Nexus' tables: columns, foreign and generic keys, constraints, unique rules.

It is read in each run and never listed here: the application adds tables with every release.
"""
