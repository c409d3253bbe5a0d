"""Staging: from FileMaker's raw records to typed, checked, resolved rows in the schema `fm_pipeline`.

`extract.py` keeps the raw records, `build.py` stages one entity, `parallel.py` all of them, `check.py` is the gate
before the transaction. `values` are pure functions over one value, `transforms` over one record. How a record becomes a
row: docs/mapping.md.
"""
