"""What is carried over: the entities and their canonical fields, profiles, and the rules for rows.

A profile is a YAML file that says which layout and field of FileMaker feeds which canonical field. `rules.yaml` holds
the rules, `policies` the sets of actions that a clinic may name. How a record becomes a row: docs/mapping.md.
"""
