"""The one transaction of a reimport: delete, load, relink, validate; and the plan that shows it first.

`transaction.py` holds the phases in their order; it commits nothing. `plan.py` binds a permission to what was shown.
"""
