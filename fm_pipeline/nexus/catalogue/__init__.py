"""Reads PostgreSQL's catalogue of Nexus' tables: columns, foreign and generic keys, constraints, unique rules.

It is read in each run, because the application adds tables with every release. No list of tables belongs here.
"""
